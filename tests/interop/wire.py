"""A proxy between servers on this machine that can cut connections and react to requests.

Each server has a front: a port that its name has, where the TLS connections of other servers end. What they
ask is passed on to the server itself, unless it comes from one that is apart from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Literal

from local_cloud.federate.certificates import Authority

ORIGIN = re.compile(rb'origin="?([^",\s]+)')
PIECE = 65_536

Moment = Literal["asked", "passed on", "answered"]
"""Before a request reaches its server, when it has, and before its answer reaches who asked."""
Happening = Callable[[Moment, str, str, str], None]
"""Called with the moment, who asks (or ""), who is asked, and the request's first line."""


class Wire:
    """All fronts. They run in a thread of their own until `close`."""

    def __init__(self, authority: Authority) -> None:
        self._serving = authority.context("localhost", "127.0.0.1")
        self._asking = ssl.create_default_context(cafile=str(authority.ca))
        self._apart: frozenset[frozenset[str]] = frozenset()
        self._happening: Happening | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._open: set[asyncio.StreamWriter] = set()

    def front(self, port: int) -> str:
        """Return a front for the server at a port, and the server's name."""

        async def serve() -> int:
            async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await self._carry(name[0], port, reader, writer)

            server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=self._serving)
            return int(server.sockets[0].getsockname()[1])

        name: list[str] = []
        name.append(f"localhost:{self._await(serve())}")
        return name[0]

    def _await(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    @contextlib.contextmanager
    def cut(self, *pairs: tuple[str, str]) -> Iterator[None]:
        """Cut the connections between the two servers of each pair within the block."""
        self._apart = frozenset(frozenset(pair) for pair in pairs)
        self._await(self._hang_up())
        try:
            yield
        finally:
            self._apart = frozenset()

    @contextlib.contextmanager
    def watched(self, happening: Happening) -> Iterator[None]:
        """Call `happening` for each request within the block. Nothing else goes on during the call."""
        self._happening = happening
        try:
            yield
        finally:
            self._happening = None

    async def _hang_up(self) -> None:
        for writer in list(self._open):
            writer.close()

    def close(self) -> None:
        self._await(self._hang_up())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    # -- One connection ----------------------------------------------------------------------------------

    async def _carry(
        self, name: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass on the data of a connection. Requests begin where the data begins."""
        asked: list[tuple[str, str]] = []
        server: asyncio.StreamWriter | None = None
        back: asyncio.Task[None] | None = None
        self._open.add(writer)
        try:
            while piece := await reader.read(PIECE):
                begins = re.match(rb"[A-Z]+ /\S* HTTP/1", piece)
                if begins is not None:
                    found = ORIGIN.search(piece)
                    origin = found[1].decode() if found else ""
                    asked.append((origin, begins[0].decode()))
                    self._tell("asked", origin, name, asked[-1][1])
                    if frozenset((origin, name)) in self._apart:
                        return
                if server is None:
                    answers, server = await asyncio.open_connection(
                        "127.0.0.1", port, ssl=self._asking, server_hostname="localhost"
                    )
                    self._open.add(server)
                    back = asyncio.create_task(self._carry_back(name, asked, answers, writer))
                server.write(piece)
                await server.drain()
                if begins is not None:
                    self._tell("passed on", *asked[-1][:1], name, asked[-1][1])
        except (OSError, ssl.SSLError):
            return
        finally:
            for each in filter(None, (server, writer)):
                self._open.discard(each)
                each.close()
            if back is not None:
                back.cancel()

    async def _carry_back(
        self,
        name: str,
        asked: list[tuple[str, str]],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        try:
            while piece := await reader.read(PIECE):
                if piece.startswith(b"HTTP/1") and asked:
                    origin, line = asked[-1]
                    self._tell("answered", origin, name, line)
                writer.write(piece)
                await writer.drain()
        except (OSError, ssl.SSLError):
            return
        finally:
            writer.close()

    def _tell(self, moment: Moment, origin: str, name: str, line: str) -> None:
        if self._happening is not None:
            self._happening(moment, origin, name, line)
