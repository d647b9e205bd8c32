"""Secrets: SSM SecureString parameters, read on first use and cached by the warm process."""

from __future__ import annotations

import functools
from typing import Any

from murmuration.aws.calls import call


@functools.cache
def client() -> Any:
    """Return the botocore client for creating secrets, which no function does."""
    from murmuration.aws.clients import make_client

    return make_client("ssm")


@functools.cache
def read_secret(name: str) -> str:
    """Return the decrypted value of the parameter `name`."""
    answer = call("ssm", "GetParameter", {"Name": name, "WithDecryption": True})
    value: str = answer["Parameter"]["Value"]
    return value


def forget() -> None:
    """Forget the cached parameters, so that each is read anew on its next use."""
    read_secret.cache_clear()
