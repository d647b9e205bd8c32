"""The measurements: the latency of a message, and the cost of single operations.

Synapse caches its answer to /sync for two minutes, and gives it again for the same request. So a repeated
first sync would measure that cache. Clients don't repeat one, so here each has another filter, for both
servers (`another_filter`).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from benchmarks.live.servers import Server
from tests.soak.clients import V3, Account

_numbers = itertools.count(1)
WAIT_MS = 20_000


@dataclass
class Latency:
    """Milliseconds from the start of a send until the waiting client has the message."""

    values: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        found = sorted(self.values)
        p50, p95, p99 = (found[min(len(found) - 1, int(len(found) * share))] for share in (0.5, 0.95, 0.99))
        return f"p50 {p50:6.1f}   p95 {p95:6.1f}   p99 {p99:6.1f} ms"


@dataclass(frozen=True)
class Cost:
    """The time until an operation's answer, and the server's CPU time; milliseconds each."""

    latency_ms: float
    cpu_ms: float

    def __str__(self) -> str:
        return f"{self.latency_ms:7.1f} ms {self.cpu_ms:6.1f} ms CPU"


def another_filter(*, lazy: bool = False) -> str:
    """Return a filter for /sync that no earlier request had: it leaves out a type that doesn't exist."""
    room = {"state": {"lazy_load_members": lazy}}
    return json.dumps({"account_data": {"not_types": [f"org.example.{next(_numbers)}"]}, "room": room})


async def account(http: aiohttp.ClientSession, server: Server, name: str) -> Account:
    found = Account(http, server.url)
    await found.register(f"{name}{next(_numbers)}")
    return found


async def send(sender: Account, room_id: str, text: str = "hello") -> str:
    path = sender.room(room_id, f"send/m.room.message/{next(_numbers)}")
    event_id: str = (await sender.once("PUT", path, {"msgtype": "m.text", "body": text}))["event_id"]
    return event_id


async def pair(http: aiohttp.ClientSession, server: Server) -> tuple[Account, Account, str]:
    """Return two users who share a room, and the room's ID."""
    one, other = await account(http, server, "one"), await account(http, server, "other")
    room_id = (await one.request("POST", f"{V3}/createRoom", {"preset": "public_chat"}))["room_id"]
    await other.request("POST", other.room(room_id, "join"), {})
    return one, other, room_id


async def waiting_http(http: aiohttp.ClientSession, server: Server, count: int, pause: float) -> Latency:
    """Measure a client that waits by /sync, with `pause` seconds between its update and the next message."""
    sender, reader, room_id = await pair(http, server)
    since = (await reader.once("GET", f"{V3}/sync", timeout=0))["next_batch"]
    latency = Latency()
    arrived: asyncio.Queue[tuple[float, str]] = asyncio.Queue()
    waits = asyncio.Event()

    async def read() -> None:
        nonlocal since
        while True:
            waits.set()
            answer = await reader.once("GET", f"{V3}/sync", since=since, timeout=WAIT_MS)
            since = answer["next_batch"]
            if "rooms" in answer:
                arrived.put_nowait((time.perf_counter(), json.dumps(answer["rooms"])))

    task = asyncio.create_task(read())
    try:
        await _measure(sender, room_id, arrived, latency, count, pause)
    finally:
        task.cancel()
    return latency


async def waiting_socket(http: aiohttp.ClientSession, server: Server, count: int, pause: float) -> Latency:
    """Measure a client that gets updates by WebSocket."""
    sender, reader, room_id = await pair(http, server)
    since = (await reader.once("GET", f"{V3}/sync", timeout=0))["next_batch"]
    latency = Latency()
    arrived: asyncio.Queue[tuple[float, str]] = asyncio.Queue()
    url = server.url.replace("http", "ws", 1) + f"{V3}/stream"
    query = {"access_token": reader.token, "since": since}
    async with http.ws_connect(url, params=query, protocols=["m.json"]) as socket:

        async def read() -> None:
            async for message in socket:
                arrived.put_nowait((time.perf_counter(), message.data))

        task = asyncio.create_task(read())
        try:
            await _measure(sender, room_id, arrived, latency, count, pause)
        finally:
            task.cancel()
    return latency


async def _measure(
    sender: Account,
    room_id: str,
    arrived: asyncio.Queue[tuple[float, str]],
    latency: Latency,
    count: int,
    pause: float,
) -> None:
    for number in range(count + 3):
        await asyncio.sleep(pause)
        text = f"message {number} of {count}"
        began = time.perf_counter()
        sending = asyncio.create_task(send(sender, room_id, text))
        while True:
            when, told = await asyncio.wait_for(arrived.get(), 30)
            if text in told:
                break
        await sending
        if number >= 3:  # the first ones are for warming up
            latency.values.append((when - began) * 1000)


async def cost(server: Server, operation: Callable[[], Awaitable[object]], count: int) -> Cost:
    """Return the cost of `operation`, run `count` times one after another."""
    for _ in range(3):
        await operation()
    times = []
    before = server.cpu()
    for _ in range(count):
        began = time.perf_counter()
        await operation()
        times.append(time.perf_counter() - began)
    await asyncio.sleep(0.3)  # the work that continues after the answers belongs to them
    return Cost(statistics.median(times) * 1000, (server.cpu() - before) / count * 1000)


async def costs(http: aiohttp.ClientSession, server: Server, count: int) -> dict[str, Cost]:
    """Return the cost of each operation."""
    sender, reader, room_id = await pair(http, server)
    since = (await reader.once("GET", f"{V3}/sync", timeout=0))["next_batch"]
    found = {"send": await cost(server, lambda: send(sender, room_id), count)}

    async def set_state() -> None:
        path = sender.room(room_id, "state/org.example/key")
        await sender.once("PUT", path, {"n": next(_numbers)})

    found["state"] = await cost(server, set_state, count)

    async def sync(**query: Any) -> None:
        nonlocal since
        since = (await reader.once("GET", f"{V3}/sync", since=since, timeout=0, **query))["next_batch"]

    async def sync_one_event() -> None:
        await send(sender, room_id)
        await sync()

    await sync()
    found["sync, nothing new"] = await cost(server, sync, count)
    both = await cost(server, sync_one_event, count)
    found["send and sync of it"] = both

    async def create() -> None:
        await sender.once("POST", f"{V3}/createRoom", {"preset": "private_chat"})

    found["createRoom"] = await cost(server, create, max(5, count // 5))
    many = await account(http, server, "many")
    for number in range(50):
        await many.once("POST", f"{V3}/createRoom", {"name": f"Room {number}"})

    async def initial() -> None:
        await many.once("GET", f"{V3}/sync", timeout=0, filter=another_filter())

    found["initial sync of 50 rooms"] = await cost(server, initial, max(3, count // 20))
    return found


async def idle(http: aiohttp.ClientSession, server: Server, clients: int, seconds: float) -> float:
    """Return the share of a CPU core that the server uses while this many clients wait."""
    _, reader, _ = await pair(http, server)
    since = None
    for _ in range(2):
        answer = await reader.once("GET", f"{V3}/sync", since=since, timeout=WAIT_MS)
        since = answer["next_batch"]
    waiting = [
        asyncio.create_task(reader.once("GET", f"{V3}/sync", since=since, timeout=WAIT_MS))
        for _ in range(clients)
    ]
    await asyncio.sleep(5)
    before = server.cpu()
    await asyncio.sleep(seconds)
    used = (server.cpu() - before) / seconds
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return used


@dataclass(frozen=True)
class Throughput:
    """Sends at once."""

    per_second: float
    failed: int

    def __str__(self) -> str:
        return f"{self.per_second:6.0f} sends/s, {self.failed} failed"


async def throughput(http: aiohttp.ClientSession, server: Server, rooms: int, each: int) -> Throughput:
    """Measure sixteen writers, all in one room or each in one of `rooms`."""
    owner = await account(http, server, "owner")
    made = [
        (await owner.request("POST", f"{V3}/createRoom", {"preset": "public_chat"}))["room_id"]
        for _ in range(rooms)
    ]
    writers = [await account(http, server, "writer") for _ in range(16)]
    for number, writer in enumerate(writers):
        await writer.request("POST", writer.room(made[number % rooms], "join"), {})
    failed = 0

    async def write(writer: Account, room_id: str) -> None:
        nonlocal failed
        for _ in range(each):
            try:
                await send(writer, room_id)
            except aiohttp.ClientError:
                failed += 1

    began = time.perf_counter()
    await asyncio.gather(*(write(writer, made[n % rooms]) for n, writer in enumerate(writers)))
    return Throughput(16 * each / (time.perf_counter() - began), failed)
