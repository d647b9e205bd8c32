"""Secrets: SSM SecureString parameters, read on first use and kept by the warm process."""

from __future__ import annotations

import functools
from typing import Any


@functools.cache
def client() -> Any:
    from murmuration.storage.aws import make_client

    return make_client("ssm")


@functools.cache
def read_secret(name: str) -> str:
    """The decrypted value of the parameter `name`."""
    value: str = client().get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
    return value
