"""The soak itself: a local cloud, writers, readers, trouble, and the account of it."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from local_cloud.testing import LocalCloud
from tests.soak.clients import V3, Account, Reader, Tally, read_http, read_socket, write

CATCH_UP_S = 15.0
"""What readers get at the end; less than the longest wait, so that a lost wake shows."""


@dataclass(frozen=True)
class Plan:
    """How long, how many, and what trouble there is; `chaos` is the local cloud's."""

    seconds: float = 50
    writers: int = 6
    rooms: int = 4
    http_readers: int = 6
    wanderers: int = 2
    socket_readers: int = 3
    chaos: str = "twice"
    waiting: str = "parked"
    waits: str = "rest"
    kills: int = 2
    seed: int = 1


@dataclass
class Report:
    """What became of the messages; the last three of the counts must be 0."""

    sent: int = 0
    acknowledged: int = 0
    delivered: int = 0
    missed: int = 0
    repeated: int = 0
    out_of_order: int = 0
    delays: list[float] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (self.missed or self.repeated or self.out_of_order or self.troubles)

    def __str__(self) -> str:
        names = ("sent", "acknowledged", "delivered", "missed", "repeated", "out_of_order")
        lines = [f"{name.replace('_', ' '):>13}  {getattr(self, name)}" for name in names]
        if self.delays:
            delays = sorted(self.delays)
            middle, late = (delays[int(len(delays) * share)] for share in (0.5, 0.99))
            lines.append(f"{'delay':>13}  p50 {middle * 1000:.0f} ms, p99 {late * 1000:.0f} ms")
        return "\n".join([*lines, *self.troubles])


async def soak(plan: Plan, data: Path) -> Report:
    """Run it all."""
    options = {"chaos": plan.chaos, "waiting": plan.waiting, "waits": plan.waits}
    cloud = LocalCloud(data, options, environment={"MURMURATION_PASSWORD_COST": "4"})
    await asyncio.to_thread(cloud.start)
    try:
        timeout = aiohttp.ClientTimeout(total=45)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as http:
            return await _Soak(plan, cloud, http).run()
    finally:
        await asyncio.to_thread(cloud.stop)


class _Soak:
    def __init__(self, plan: Plan, cloud: LocalCloud, http: aiohttp.ClientSession) -> None:
        self.plan, self.cloud, self.http = plan, cloud, http
        self.tally, self.report = Tally(), Report()
        self.dice = random.Random(plan.seed)

    async def run(self) -> Report:
        plan = self.plan
        names = [f"writer{n}" for n in range(plan.writers)]
        names += [f"reader{n}" for n in range(plan.http_readers + plan.wanderers + plan.socket_readers)]
        accounts = await asyncio.gather(*(self._account(name) for name in names))
        owner = accounts[0]
        self.rooms = [
            (await owner.request("POST", f"{V3}/createRoom", {"preset": "public_chat"}))["room_id"]
            for _ in range(plan.rooms)
        ]
        await asyncio.gather(*(self._join(account) for account in accounts[1:]))
        writers, readers = accounts[: plan.writers], self._readers(accounts[plan.writers :])
        stop = asyncio.Event()
        reading = [asyncio.create_task(task) for task in self._reading(readers, stop)]
        end = time.monotonic() + plan.seconds
        trouble = asyncio.create_task(self._make_trouble(end))
        await asyncio.gather(
            *(write(each, self.rooms, end, self.tally, random.Random(self.dice.random())) for each in writers)
        )
        await trouble
        truth = {room_id: await self._log(owner, room_id) for room_id in self.rooms}
        await self._catch_up(readers, truth)
        truth = {room_id: await self._log(owner, room_id) for room_id in self.rooms}
        await self._catch_up(readers, truth)
        stop.set()
        for result in await asyncio.gather(*reading, return_exceptions=True):
            if isinstance(result, BaseException):
                self.report.troubles.append(f"a reader failed: {result!r}")
        self._judge(readers, truth)
        return self.report

    async def _account(self, name: str) -> Account:
        account = Account(self.http, self.cloud.url)
        await account.register(name)
        return account

    async def _join(self, account: Account) -> None:
        for room_id in self.rooms:
            await account.request("POST", account.room(room_id, "join"), {})

    def _readers(self, accounts: list[Account]) -> list[Reader]:
        """Every other reader is a second tab of the one before: the same device, the same token."""
        readers = []
        for number, account in enumerate(accounts):
            paired = number % 2 == 1 and number < self.plan.http_readers
            shared = accounts[number - 1] if paired else account
            readers.append(Reader(shared, self.rooms, self.tally, random.Random(self.dice.random())))
        return readers

    def _reading(self, readers: list[Reader], stop: asyncio.Event) -> list[Coroutine[Any, Any, None]]:
        http, wanderers = self.plan.http_readers, self.plan.wanderers
        tasks = [read_http(reader, stop) for reader in readers[:http]]
        tasks += [read_http(reader, stop, wander=True) for reader in readers[http : http + wanderers]]
        tasks += [read_socket(reader, stop) for reader in readers[http + wanderers :]]
        return tasks

    async def _make_trouble(self, end: float) -> None:
        for _ in range(self.plan.kills):
            await asyncio.sleep(max(0.0, (end - time.monotonic()) / (self.plan.kills + 1)))
            await asyncio.to_thread(self.cloud.kill9)
            await asyncio.to_thread(self.cloud.start)

    async def _log(self, owner: Account, room_id: str) -> list[tuple[str, str]]:
        """The room's events as (ID, text), in order."""
        events: list[tuple[str, str]] = []
        start: str | None = None
        while True:
            path = owner.room(room_id, "messages")
            page = await owner.request("GET", path, dir="f", limit=250, **{"from": start})
            events += [(event["event_id"], event["content"].get("body", "")) for event in page["chunk"]]
            start = page.get("end")
            if start is None or not page["chunk"]:
                return events

    async def _catch_up(self, readers: list[Reader], truth: dict[str, list[tuple[str, str]]]) -> None:
        wanted = sum(map(len, truth.values()))
        deadline = time.monotonic() + CATCH_UP_S
        while time.monotonic() < deadline and any(reader.count() < wanted for reader in readers):
            await asyncio.sleep(0.1)

    def _judge(self, readers: list[Reader], truth: dict[str, list[tuple[str, str]]]) -> None:
        report, tally = self.report, self.tally
        report.sent, report.acknowledged = tally.sent, len(tally.acknowledged)
        report.delays = tally.delays
        stored = [text for log in truth.values() for _, text in log if text]
        report.missed += len(tally.acknowledged.keys() - set(stored))
        report.repeated += len(stored) - len(set(stored))
        for reader in readers:
            report.repeated += reader.repeated
            for room_id, log in truth.items():
                places = {event_id: place for place, (event_id, _) in enumerate(log)}
                shown = [places[each] for each in reader.shown.get(room_id, []) if each in places]
                report.delivered += len(shown)
                report.missed += len(places) - len(set(shown))
                report.out_of_order += sum(before > after for before, after in itertools.pairwise(shown))
