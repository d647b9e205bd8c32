"""The soak itself: local clouds, writers, readers, trouble, and the account of it.

With several servers all of them share the rooms. Each has a log of its own, whose order may differ from the
others'; what was said must be in all of them, and what one person said in its order.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from local_cloud.federate.certificates import Authority
from local_cloud.testing import LocalCloud
from murmuration.federation.requests import health
from murmuration.protocol.identifiers import ServerName
from murmuration.storage.live.token_forms import MARKED_POS
from murmuration.storage.servers import backlogs, destinations
from operators import operating
from tests.federation.clouds import federating
from tests.soak.clients import V3, Account, Reader, Tally, read_http, read_socket, write
from tests.soak.sliding import SlidingReader, read_sliding

CATCH_UP_S = 15.0
"""How long no reader may get anything at the end; less than the longest wait, so that a lost wake shows."""
PARK_S = 60.0
"""What readers by sliding sync get, when all is quiet, until one of them waits without a function."""
MEET_S = 240.0
"""What servers get at the end to tell each other all; a killed worker's claim lasts for 150 seconds."""

Log = list[tuple[str, str]]
"""A room's events as (ID, text), in a server's order."""


@dataclass(frozen=True)
class Plan:
    """How long, how many, and what trouble there is; `chaos` is the local cloud's."""

    seconds: float = 50
    writers: int = 6
    rooms: int = 4
    http_readers: int = 6
    wanderers: int = 2
    socket_readers: int = 3
    sliding_readers: int = 3
    chaos: str = "twice"
    waiting: str = "parked"
    waits: str = "edge"
    kills: int = 2
    seed: int = 1
    servers: int = 1


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
    """Run the whole soak test."""
    clouds = _clouds(plan, data)
    try:
        for cloud in clouds:
            await asyncio.to_thread(cloud.start)
        timeout = aiohttp.ClientTimeout(total=45)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as http:
            return await _Soak(plan, clouds, http).run()
    finally:
        for cloud in clouds:
            await asyncio.to_thread(cloud.stop)


def _clouds(plan: Plan, data: Path) -> list[LocalCloud]:
    options = {"chaos": plan.chaos, "waiting": plan.waiting, "waits": plan.waits}
    environment = {"MURMURATION_PASSWORD_COST": "4"}
    if plan.servers == 1:
        return [LocalCloud(data, options, environment=environment)]
    authority = Authority(data)
    return [
        LocalCloud(data / str(number), federating(authority, **options), environment=environment)
        for number in range(plan.servers)
    ]


class _Soak:
    def __init__(self, plan: Plan, clouds: list[LocalCloud], http: aiohttp.ClientSession) -> None:
        self.plan, self.clouds, self.http = plan, clouds, http
        self.tally, self.report = Tally(), Report()
        self.dice = random.Random(plan.seed)

    async def run(self) -> Report:
        plan = self.plan
        names = [f"writer{n}" for n in range(plan.writers)]
        others = plan.wanderers + plan.socket_readers + plan.sliding_readers
        names += [f"reader{n}" for n in range(plan.http_readers + others)]
        accounts = await asyncio.gather(
            *(self._account(name, self._home(number)) for number, name in enumerate(names))
        )
        owner = accounts[0]
        self.residents = accounts[: len(self.clouds)]  # one of each server, who never leaves
        self.rooms = [
            (await owner.request("POST", f"{V3}/createRoom", {"preset": "public_chat"}))["room_id"]
            for _ in range(plan.rooms)
        ]
        for account in self.residents[1:]:
            await self._join(account)
            await self._scroll_back(account)
        await asyncio.gather(*(self._join(account) for account in accounts[len(self.clouds) :]))
        writers, readers = accounts[: plan.writers], self._readers(accounts[plan.writers :])
        stop = asyncio.Event()
        reading = [asyncio.create_task(task) for task in self._reading(readers, stop)]
        end = time.monotonic() + plan.seconds
        trouble = asyncio.create_task(self._make_trouble(end))
        await asyncio.gather(
            *(write(each, self.rooms, end, self.tally, random.Random(self.dice.random())) for each in writers)
        )
        await trouble
        await self._meet()
        for _ in range(2):
            truth = await self._logs()
            await self._catch_up(readers, truth)
        sliding = [reader for reader in readers if isinstance(reader, SlidingReader)]
        if sliding and plan.waiting == "parked":
            await self._wait_without_function(sliding)
        stop.set()
        for result in await asyncio.gather(*reading, return_exceptions=True):
            if isinstance(result, BaseException):
                self.report.troubles.append(f"a reader failed: {result!r}")
        self._judge(readers, truth)
        return self.report

    def _home(self, number: int) -> LocalCloud:
        """Return the server of a writer or reader: all servers in turn, but one for two readers who share a
        device.
        """
        readers = number - self.plan.writers
        return self.clouds[(number if readers < 0 else readers // 2) % len(self.clouds)]

    async def _account(self, name: str, home: LocalCloud) -> Account:
        account = Account(self.http, home.url)
        await account.register(name)
        return account

    async def _join(self, account: Account) -> None:
        for room_id in self.rooms:
            path = f"{V3}/join/{quote(room_id, safe='')}"
            await account.request("POST", path, {}, via=self.clouds[0].server_name)

    async def _scroll_back(self, account: Account) -> None:
        """Fetch the past of the rooms, so that it doesn't come while others read."""
        for room_id in self.rooms:
            start: str | None = None
            while True:
                path = account.room(room_id, "messages")
                page = await account.request("GET", path, dir="b", limit=100, **{"from": start})
                start = page.get("end")
                if start is None:
                    break

    def _readers(self, accounts: list[Account]) -> list[Reader]:
        """Return the readers. Every other reader is a second tab of the previous one, with the same device
        and token.
        """
        readers: list[Reader] = []
        for number, account in enumerate(accounts):
            if number >= len(accounts) - self.plan.sliding_readers:
                dice = random.Random(self.dice.random())
                readers.append(SlidingReader(account, self.rooms, self.tally, dice))
                continue
            paired = number % 2 == 1 and number < self.plan.http_readers
            shared = accounts[number - 1] if paired else account
            readers.append(Reader(shared, self.rooms, self.tally, random.Random(self.dice.random())))
        return readers

    def _reading(self, readers: list[Reader], stop: asyncio.Event) -> list[Coroutine[Any, Any, None]]:
        http, wanderers = self.plan.http_readers, self.plan.wanderers
        tasks = [read_http(reader, stop) for reader in readers[:http]]
        tasks += [read_http(reader, stop, wander=True) for reader in readers[http : http + wanderers]]
        sliding = [reader for reader in readers if isinstance(reader, SlidingReader)]
        sockets = readers[http + wanderers : len(readers) - len(sliding)]
        tasks += [read_socket(reader, stop) for reader in sockets]
        tasks += [read_sliding(reader, stop) for reader in sliding]
        return tasks

    async def _make_trouble(self, end: float) -> None:
        for _ in range(self.plan.kills):
            await asyncio.sleep(max(0.0, (end - time.monotonic()) / (self.plan.kills + 1)))
            victim = self.dice.choice(self.clouds)
            await asyncio.to_thread(victim.kill9)
            await asyncio.to_thread(victim.start)
            await asyncio.to_thread(self._try_again)

    def _try_again(self) -> None:
        """Do what servers do after some minutes: they forget that others didn't answer."""
        for cloud in self.clouds if len(self.clouds) > 1 else ():
            with operating.connected(cloud.data, None):
                health.forget()
                for other in self.clouds:
                    destinations.clear(ServerName(other.server_name))
                    backlogs.hasten(ServerName(other.server_name))

    async def _meet(self) -> None:
        """Wait until all servers have the same messages."""
        deadline = time.monotonic() + MEET_S
        while time.monotonic() < deadline:
            found = [_texts(logs) for logs in (await self._logs()).values()]
            if all(len({frozenset(texts[room_id]) for texts in found}) == 1 for room_id in self.rooms):
                return
            await asyncio.to_thread(self._try_again)
            await asyncio.sleep(1)

    async def _logs(self) -> dict[str, dict[str, Log]]:
        """Return each server's log of each room, by the servers' URLs and the rooms' IDs."""
        return {
            account.url: {room_id: await self._log(account, room_id) for room_id in self.rooms}
            for account in self.residents
        }

    async def _log(self, owner: Account, room_id: str) -> Log:
        events: Log = []
        start: str | None = None
        while True:
            path = owner.room(room_id, "messages")
            page = await owner.request("GET", path, dir="f", limit=250, **{"from": start})
            events += [(event["event_id"], event["content"].get("body", "")) for event in page["chunk"]]
            start = page.get("end")
            if start is None or not page["chunk"]:
                return events

    async def _catch_up(self, readers: list[Reader], truth: dict[str, dict[str, Log]]) -> None:
        """Wait until all readers have shown every event of the logs, or until none of them gets on.

        Others' joins and leaves may still come meanwhile, so the number of events alone says nothing.
        """
        wanted = {
            url: {event_id for log in logs.values() for event_id, _ in log} for url, logs in truth.items()
        }
        lacking, deadline = -1, 0.0
        while lacking != 0:
            before = lacking
            lacking = sum(len(wanted[reader.account.url] - reader.seen) for reader in readers)
            if lacking != before:
                deadline = time.monotonic() + CATCH_UP_S
            elif time.monotonic() > deadline:
                return
            await asyncio.sleep(0.1)

    async def _wait_without_function(self, readers: list[SlidingReader]) -> None:
        """Wait until one of the readers has a mark. During the messages, none may stay quiet long enough."""
        deadline = time.monotonic() + PARK_S
        while not any(MARKED_POS in reader.kinds for reader in readers):
            if time.monotonic() > deadline:
                kinds = sorted(set().union(*(reader.kinds for reader in readers)))
                self.report.troubles.append(f"nobody waited by sliding sync without a function: {kinds}")
                return
            await asyncio.sleep(0.1)

    def _judge(self, readers: list[Reader], truth: dict[str, dict[str, Log]]) -> None:
        report, tally = self.report, self.tally
        report.sent, report.acknowledged = tally.sent, len(tally.acknowledged)
        report.delays = tally.delays
        for logs in truth.values():
            stored = [text for texts in _texts(logs).values() for text in texts]
            report.missed += len(tally.acknowledged.keys() - set(stored))
            report.repeated += len(stored) - len(set(stored))
            report.out_of_order += sum(map(_misplaced, _texts(logs).values()))
        for reader in readers:
            report.repeated += reader.repeated
            for room_id, log in truth[reader.account.url].items():
                places = {event_id: place for place, (event_id, _) in enumerate(log)}
                shown = [places[each] for each in reader.shown.get(room_id, []) if each in places]
                report.delivered += len(shown)
                report.missed += len(places) - len(set(shown))
                report.out_of_order += sum(before > after for before, after in itertools.pairwise(shown))


def _texts(logs: Mapping[str, Log]) -> dict[str, list[str]]:
    """Return the texts of each room's messages, in the room's order."""
    return {room_id: [text for _, text in log if text] for room_id, log in logs.items()}


def _misplaced(texts: Iterable[str]) -> int:
    """Return the number of texts that come before a text that the same person wrote earlier."""
    last: dict[str, int] = {}
    count = 0
    for text in texts:
        writer, _, number = text.rpartition(" ")
        count += int(number) < last.get(writer, 0)
        last[writer] = int(number)
    return count
