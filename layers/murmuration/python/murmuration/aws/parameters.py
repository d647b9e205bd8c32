"""Secrets: SSM SecureString parameters, read on first use and kept by the warm process."""

from __future__ import annotations

import functools
from typing import Any

from murmuration.aws.calls import call


@functools.cache
def client() -> Any:
    """The botocore client, for what no function does: making secrets."""
    from murmuration.aws.clients import make_client

    return make_client("ssm")


@functools.cache
def read_secret(name: str) -> str:
    """The decrypted value of the parameter `name`."""
    answer = call("ssm", "GetParameter", {"Name": name, "WithDecryption": True})
    value: str = answer["Parameter"]["Value"]
    return value


def forget() -> None:
    """Read each parameter anew when it is asked for next."""
    read_secret.cache_clear()
