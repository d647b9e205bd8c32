"""Decides which stack a function is in. A stack may have 500 resources, and a template 1 MB.

The first stack has everything to which other stacks refer: tables, queues, APIs, the distribution. It also
has the workers, the founding drafts' functions, and those of the modules in `STAYING`. All other functions
are in nested stacks, one for each API. A new file or module needs no entry here.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
"""

from __future__ import annotations

from typing import Literal

from murmuration.endpoint import Function

Division = Literal["", "Clients", "Federation"]
NESTED: tuple[Division, ...] = ("Clients", "Federation")
"""The nested stacks, in the order in which they are made and changed."""

STAYING = frozenset(f"client_server.{module}" for module in ("account", "login", "media", "old_sync", "sync"))
"""Modules of the client-server API that never moved, because concurrency is reserved for them.

While the stack is upgraded, a moving function exists twice: CloudFormation creates new resources before it
deletes old ones. There isn't enough concurrency to reserve these functions' share twice.
"""

_NAMES = {"Clients": "client", "Federation": "federation"}
"""The part that stands for the API in the names of a nested stack's functions. No function of the first stack
had it."""


def division_of(function: Function) -> Division:
    """Return the name of the nested stack that has a function; empty for the first stack."""
    api = function.group.partition(".")[0]
    if api == "server_server":
        return "Federation"
    return "Clients" if api == "client_server" and function.group not in STAYING else ""


def api_name(function: Function) -> str:
    """Return the part of a function's physical name that stands for its API. With `-*` added it matches all
    of the API's functions.

    A function in a nested stack has a different name from the one that it had in the first stack, so that
    both can exist during an upgrade.
    """
    division = division_of(function)
    return _NAMES[division] if division else function.name.partition("-")[0]
