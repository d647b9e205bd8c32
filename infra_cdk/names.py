"""How resources are named: `<prefix>-<api>-<operation>` for functions, `<prefix>-<name>` for the rest."""

from __future__ import annotations

import hashlib

from infra_cdk.settings import Settings
from murmuration.endpoint import Function

LONGEST = 64
"""Lambda's limit for a function's name."""


def function_name(settings: Settings, function: Function) -> str:
    """A function's physical name; one that would be too long ends in a digest of what is cut off."""
    name = f"{settings.prefix}-{function.name}"
    if len(name) <= LONGEST:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    return f"{name[: LONGEST - 7]}-{digest}"


def queue_name(settings: Settings, name: str, fifo: bool) -> str:
    return f"{settings.prefix}-{name}" + (".fifo" if fifo else "")


def logical_id(*parts: str) -> str:
    """A logical ID, such as `FunctionClientServerLogin`, of words that `.`, `-`, `_`, `/` or `$` part."""
    words = "-".join(parts).translate(str.maketrans("._/$", "----")).split("-")
    return "".join(word[:1].upper() + word[1:] for word in words)
