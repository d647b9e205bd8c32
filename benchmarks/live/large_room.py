"""The cost of a room with many members: its state, its members, syncs, and a message to waiting clients."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp

from benchmarks.live.measures import WAIT_MS, Cost, account, another_filter, cost, send
from benchmarks.live.servers import Server
from tests.soak.clients import V3, Account

AT_ONCE = 4


async def make(http: aiohttp.ClientSession, server: Server, members: int) -> tuple[list[Account], str]:
    """Create a public room with this many members, and return them (its creator first) and its ID."""
    owner = await account(http, server, "owner")
    room_id = (await owner.request("POST", f"{V3}/createRoom", {"preset": "public_chat"}))["room_id"]
    gate = asyncio.Semaphore(AT_ONCE)

    async def join() -> Account:
        async with gate:
            found = await account(http, server, "member")
            await found.request("POST", found.room(room_id, "join"), {})
            return found

    return [owner, *await asyncio.gather(*(join() for _ in range(members - 1)))], room_id


async def costs(
    http: aiohttp.ClientSession, server: Server, members: int, waiting: int, count: int, *, whole: bool
) -> dict[str, Cost]:
    """Return the cost of each operation in a room with this many members, some of whom wait for updates.

    Unless `whole`, return only the cost of a message to the waiting clients.
    """
    everybody, room_id = await make(http, server, members)
    owner, reader = everybody[:2]

    def get(path: str, **query: str | int) -> Callable[[], Awaitable[object]]:
        return lambda: reader.once("GET", path, **query)

    async def initial_sync(*, lazy: bool) -> None:
        await reader.once("GET", f"{V3}/sync", timeout=0, filter=another_filter(lazy=lazy))

    title = f"room of {members}: "
    found = {
        title + name: await cost(server, operation, count)
        for name, operation in (
            ("/state", get(reader.room(room_id, "state"))),
            ("/members", get(reader.room(room_id, "members"))),
            ("/joined_members", get(reader.room(room_id, "joined_members"))),
            ("initial sync", lambda: initial_sync(lazy=False)),
            ("initial sync, lazy", lambda: initial_sync(lazy=True)),
        )
        if whole
    }
    clients = [_Waiting(reader) for reader in everybody[1 : waiting + 1]]
    for client in clients:
        await client.sync(0)
    tasks = [asyncio.create_task(client.live()) for client in clients]
    await asyncio.sleep(1)  # until they wait
    try:
        name = f"{title}send, {waiting} wait"
        found[name] = await cost(server, lambda: _reach(owner, room_id, clients), max(3, count // 5))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return found


class _Waiting:
    """A client that waits by /sync, and reports when updates come."""

    def __init__(self, reader: Account) -> None:
        self.arrived = asyncio.Event()
        self._reader = reader
        self._since: str | None = None

    async def sync(self, timeout_ms: int) -> None:
        answer = await self._reader.once("GET", f"{V3}/sync", since=self._since, timeout=timeout_ms)
        self._since = answer["next_batch"]
        if "rooms" in answer:
            self.arrived.set()

    async def live(self) -> None:
        while True:
            await self.sync(WAIT_MS)


async def _reach(sender: Account, room_id: str, clients: list[_Waiting]) -> None:
    """Send a message, and wait until all clients have it."""
    for client in clients:
        client.arrived.clear()
    await send(sender, room_id)
    await asyncio.wait_for(asyncio.gather(*(client.arrived.wait() for client in clients)), 60)
