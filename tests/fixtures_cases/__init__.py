"""The cases that fixtures are recorded from: a module for each module of `functions/`, a `CASES` in each."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import ServerName

SOCKET = "c29ja2V0b2Zob21l"
UNKNOWN_TOKEN = "mma_YWxpY2U.UEhPTkU.bm90IGEgdG9rZW4gb2YgaGVycyE.101b2ab6"
"""Formed as a token of Alice's phone is, but none."""


@dataclass(frozen=True)
class Case:
    """An event to be made and what is sure of its outcome beforehand.

    `name` is such as `client_server/devices/get_device/good`. In `request` (method and URI), `headers` and
    `body` each `{{name}}` is what the worlds call so. `by` is whose token is sent: for `alice`, the world's
    `alice_token`; `server` is the other server that signs the request. A `body` that is a function makes the
    body of the world's names. `expect` is the status, with the errcode of a refusal, such as
    `404 M_NOT_FOUND`. `after` is how many milliseconds after the worlds' last moment it comes. The bytes of a
    `vague` answer depend on a library's version.

    What isn't HTTP has another `request`: `WS` and the route of a WebSocket's event ($connect with a query;
    the connection is `SOCKET`); `QUEUE` and the name of a queue, whose messages are `body`; `STREAM` and the
    name of a table, some of whose items in the world `body` describes by some of their attributes;
    `SCHEDULE` for what runs by the clock.
    """

    name: str
    about: str
    request: str = ""
    body: Any = None
    worlds: tuple[str, ...] = ()
    by: str | None = None
    server: ServerName | None = None
    expect: str = "200"
    headers: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    after: int = 60_000
    vague: bool = False


class Cases(list[Case]):
    """The cases of one module of `functions/`, named as it is."""

    def __init__(self, module: str, *worlds: str) -> None:
        super().__init__()
        self._module = module
        self._worlds = worlds

    def add(
        self,
        name: str,
        about: str,
        request: str = "",
        body: Any = None,
        *,
        worlds: tuple[str, ...] | str | None = None,
        **options: Any,
    ) -> None:
        """Add a case of the operation before the slash. `worlds` are the module's unless given."""
        if isinstance(worlds, str):
            worlds = (worlds,)
        chosen = self._worlds if worlds is None else worlds
        self.append(Case(f"{self._module}/{name}", about, request, body, chosen, **options))


def all_cases() -> Iterator[Case]:
    """Every case, by module."""
    for found in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        yield from importlib.import_module(f"{__name__}.{found.name}").CASES
