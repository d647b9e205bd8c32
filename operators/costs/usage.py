"""How much a server uses of what in a month: from how its people live, or from a run that was measured.

The units of an operation are those that `make budgets` counts. What can't be counted here (how long a
function runs in AWS, how often it starts cold, how large an answer is) is an assumption: see `Assumptions`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Waiting = Literal["parked", "held", "websocket"]
WAITING: tuple[Waiting, ...] = ("parked", "held", "websocket")

Usage = dict[str, float]
"""Units in a month, by the names in `prices.PRICES`."""

DAYS = 30
PARKED_S = 20
"""How long one waiting request lasts without compute: what SQS allows."""
HELD_S = 25
"""How long a function waits; API Gateway gives up after 29 seconds."""
POLLERS = 5
"""How many requests at a time Lambda waits with on a queue.
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html"""
REGISTERED_S = 600
"""How long a device waits before it must ask a function again (`sync.marks.LIFETIME_S`)."""


@dataclass(frozen=True, slots=True)
class Units:
    """What one operation asks of DynamoDB."""

    reads: float
    writes: float


SEND = Units(reads=6, writes=10)
SYNC_MOVED = Units(reads=38, writes=3)
SYNC_NOTHING_NEW = Units(reads=90, writes=1)
COUNTED_ROOMS = 50
"""The rooms that the syncs were counted with; their reads are in proportion."""
EPHEMERAL = Units(reads=3, writes=3)
"""A receipt or a notice of typing: the sender's rights, then the item and the room's head."""
COMING = Units(reads=1, writes=1)
"""A user comes to an event stream: their presence, read with what a sync reads, and written."""
TOLD_ROOM = Units(reads=3.5, writes=6.6)
"""For each of their rooms in which somebody is there to see it, when that is told."""
FAN_OUT_READS = 0.5
"""For each member of a room, when something happens there: the membership and who is listening."""


@dataclass(frozen=True, slots=True)
class Life:
    """How a server's people live: numbers for each of them, or on average."""

    users: int
    messages_per_day: float = 50
    devices: float = 2
    hours_online: float = 8
    """How long each device waits for news, a day."""
    rooms: float = 20
    people_per_room: float = 0
    """How many are in the room where a message is sent; 0 is as many as there are, up to 12."""
    media_mb_per_day: float = 2
    stored_months: float = 12
    """What has been written so far is kept: how many months of it."""

    @property
    def audience(self) -> float:
        return min(self.users, self.people_per_room or 12)


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What nothing here can measure."""

    memory_gb: float = 0.5
    held_memory_gb: float = 0.125
    """Of the function that does nothing but wait."""
    warm_s: float = 0.08
    cold_s: float = 0.7
    """What a cold start adds; AWS bills it too."""
    kept_warm_s: float = 420
    """How long a function stays warm after its last request."""
    typing_per_message: float = 1.5
    receipts_per_reader: float = 0.3
    """How many receipts each reader who is online sends for a message: several are read at once."""
    changes_per_sync: float = 2
    """Messages, receipts and typing come in bursts; a client that fetches them gets this many at once."""
    sync_kb: float = 3
    message_kb_stored: float = 6
    media_reads: float = 3
    """How often a file or its thumbnail is downloaded."""
    comings_per_day: float = 4
    """How often a user comes after having been away, by any device; others online in their rooms are told."""
    polled_queues: float = 2
    """Queues that have a worker: Lambda asks each of them all the time, empty or not."""
    waking_hours: float = 16
    """A day's messages fall within these."""


ASSUMPTIONS = Assumptions()


@dataclass
class _Tally:
    """Adds up a month's usage."""

    life: Life
    assumed: Assumptions
    usage: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def invoke(self, count: float, *, functions: int = 1, seconds: float | None = None) -> None:
        """`count` invocations, spread over so many functions: how many are cold depends on the pace."""
        per_second = count / functions / (DAYS * self.assumed.waking_hours * 3600)
        cold = count * math.exp(-per_second * self.assumed.kept_warm_s)
        warm_s = self.assumed.warm_s if seconds is None else seconds
        self.usage["lambda_requests"] += count
        gb_seconds = self.assumed.memory_gb * (count * warm_s + cold * self.assumed.cold_s)
        self.usage["lambda_gb_seconds"] += gb_seconds
        self.usage["key_requests"] += cold

    def request(self, count: float, units: Units = Units(0, 0), *, functions: int = 1) -> None:
        """Requests of clients that a function answers."""
        self.edge(count)
        self.invoke(count, functions=functions)
        self.database(count, units)

    def edge(self, count: float) -> None:
        for name in ("rest_requests", "cloudfront_requests", "cloudfront_functions"):
            self.add(name, count)

    def database(self, count: float, units: Units) -> None:
        self.add("dynamodb_reads", count * units.reads)
        self.add("dynamodb_writes", count * units.writes)

    def add(self, name: str, units: float) -> None:
        self.usage[name] += units


def estimate(life: Life, waiting: Waiting, assumed: Assumptions = ASSUMPTIONS) -> Usage:
    """A month's usage of a server whose people live like this and wait for news in that way."""
    tally = _Tally(life, assumed)
    messages = life.users * life.messages_per_day * DAYS
    online = life.hours_online / 24
    devices = life.audience * life.devices
    receipts = messages * assumed.receipts_per_reader * life.audience * online
    typing = messages * assumed.typing_per_message
    tally.request(messages, SEND)
    tally.request(receipts + typing, EPHEMERAL, functions=2)
    _add_presence(tally)
    changes = messages + receipts + typing
    tally.invoke(changes, functions=2)  # the workers of the streams, with hardly ever more than one record
    tally.add("dynamodb_reads", changes * life.audience * FAN_OUT_READS)
    seen = comings(life, assumed) * acquaintances(life) * life.devices
    wakes = (changes * devices + seen) * online / assumed.changes_per_sync
    _add_waiting(tally, waiting, wakes)
    _add_media(tally)
    _add_standing(tally, messages)
    return dict(tally.usage)


def comings(life: Life, assumed: Assumptions) -> float:
    """How often somebody comes, in a month."""
    return life.users * assumed.comings_per_day * DAYS


def acquaintances(life: Life) -> float:
    """With how many people a user shares rooms."""
    return min(life.users, life.rooms * life.audience) - 1


def _add_presence(tally: _Tally) -> None:
    """Coming, and telling of it; that a device is still there is written by the sync that looks for news."""
    life, count = tally.life, comings(tally.life, tally.assumed)
    tally.invoke(count)
    tally.database(count, COMING)
    rooms = life.rooms if life.users > 1 else 0
    tally.database(count * rooms, TOLD_ROOM)


def _add_waiting(tally: _Tally, waiting: Waiting, wakes: float) -> None:
    life, assumed = tally.life, tally.assumed
    seconds = life.users * life.devices * life.hours_online * 3600 * DAYS
    scale = life.rooms / COUNTED_ROOMS
    moved = Units(max(6, SYNC_MOVED.reads * scale), SYNC_MOVED.writes)
    nothing = Units(max(6, SYNC_NOTHING_NEW.reads * scale), SYNC_NOTHING_NEW.writes)
    tally.add("cloudfront_gb", wakes * assumed.sync_kb / 1024**2)
    if waiting == "websocket":
        tally.add("sqs_requests", 3 * wakes)  # to the worker that pushes: sent, received, deleted
        tally.add("socket_minutes", seconds / 60)
        tally.add("socket_messages", wakes + seconds / 300)  # an update each, and a ping every five minutes
        tally.invoke(wakes + seconds / 300)
        tally.database(wakes, moved)
        return
    tally.add("sqs_requests", 2 * wakes)  # the ring, and taking it away
    if waiting == "parked":
        tally.request(wakes, moved)
        tally.request(seconds / REGISTERED_S, nothing)
        tally.edge(seconds / PARKED_S)
        tally.add("sqs_requests", seconds / PARKED_S)
        return
    waits = seconds / HELD_S
    tally.edge(waits + wakes)
    tally.add("lambda_requests", waits + wakes)
    tally.add("lambda_gb_seconds", seconds * assumed.held_memory_gb)
    tally.add("sqs_requests", 2 * waits)
    tally.database(wakes, moved)
    tally.database(waits, nothing)


def _add_media(tally: _Tally) -> None:
    life, assumed = tally.life, tally.assumed
    megabytes = life.users * life.media_mb_per_day * DAYS
    files = megabytes / 1  # of 1 MB
    tally.request(files * (1 + assumed.media_reads), Units(2, 1), functions=2)
    tally.add("s3_puts", files)
    tally.add("s3_gets", files * assumed.media_reads)
    tally.add("s3_gb", megabytes / 1024 * life.stored_months)
    tally.add("cloudfront_gb", megabytes / 1024 * assumed.media_reads)


def _add_standing(tally: _Tally, messages: float) -> None:
    """What a month costs that isn't a request: what is stored, and who watches."""
    stored_gb = messages * tally.assumed.message_kb_stored / 1024**2 * tally.life.stored_months
    tally.add("dynamodb_gb", stored_gb)
    tally.add("dynamodb_backup_gb", stored_gb)
    tally.add("log_gb", tally.usage["lambda_requests"] * 2e-8)  # at WARN, a line for each fifty
    tally.add("sqs_requests", tally.assumed.polled_queues * POLLERS * DAYS * 86_400 / PARKED_S)
    tally.add("alarms", 10)
    tally.add("dashboards", 1)


def scaled(counts: Mapping[str, float], seconds: float) -> Usage:
    """A month at the pace of a run that took `seconds`."""
    return {name: count * DAYS * 86_400 / seconds for name, count in counts.items()}
