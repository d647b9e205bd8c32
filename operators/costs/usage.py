"""How much a server uses of each service in a month: from how its people use it, or from a measured run.

What an operation uses was counted (`operators.costs.model`, `make bill`). How often it happens follows from
how people use the server (`Life`). Everything that can't be counted here (how long a function runs in AWS,
how often it starts cold, how often people do things) is an assumption: see `Assumptions`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from operators.costs import model
from operators.costs.counts import Counts, Op

Waiting = Literal["parked", "held", "websocket"]
WAITING: tuple[Waiting, ...] = ("parked", "held", "websocket")

Usage = dict[str, float]
"""Units in a month, by the names in `prices.PRICES`."""
ByCause = dict[str, Usage]
"""Units in a month, by cause."""

DAYS = 30
PARKED_S = 20
"""How long one waiting request lasts without a function: the maximum of SQS."""
HELD_S = 25
"""How long a function waits; API Gateway gives up after 29 seconds."""
SLIDING_REQUESTS = 2
"""How many waiting requests of sliding sync an open app has: its list of rooms, and its keys."""
SLIDING_GB = 0.25
"""The memory of the function that holds waiting requests (`infra_cdk.modules.HOLDING`)."""
REGISTERED_S = 600
"""After how long a waiting device must ask a function again (`sync.marks.LIFETIME_S`)."""
EVERYTHING_S = 600
"""How often a device that is rung looks at everything (`sync.narrow_look.EVERYTHING_S`)."""
LATE_S = 15
"""How much later receipts and presence ring (`delivery.wakes.LATE_S`)."""
SMALL_ROOM = 10
"""The largest number of members for which typing, receipts and presence ring
(`delivery.wakes.EPHEMERAL_ROOM`)."""
SLOTS = 10
"""How many queues a device has (`sync.waiting.SLOTS`)."""
PRESENCE_S = 240
"""How often at most it is recorded that a device is still online (`presence.status`)."""


@dataclass(frozen=True, slots=True)
class Life:
    """How a server's people use it: numbers for each of them, or averages."""

    users: int
    messages_per_day: float = 50
    devices: float = 2
    hours_online: float = 8
    """How many hours a day each device waits for updates."""
    rooms: float = 20
    people_per_room: float = 0
    """The number of members of the room to which a message is sent; 0 means all users, up to 12."""
    media_mb_per_day: float = 2
    stored_months: float = 12
    """For how many months the server has stored what is written."""
    phones: float = 0
    """How many push gateways each person has. Every message is assumed to notify all of them."""
    app_hours: float = 0
    """How many hours a day each person has an app with sliding sync open, in addition to the devices."""
    servers: float = 0
    """How many other servers are in the rooms to which messages are sent."""
    remote_events: float = 0
    """How many events other servers send to this one each day."""

    @property
    def audience(self) -> float:
        return min(self.users, self.people_per_room or 12)

    @property
    def waiting_s(self) -> float:
        """The seconds that all devices wait, in a month."""
        return self.users * self.devices * self.hours_online * 3600 * DAYS


@dataclass(frozen=True, slots=True)
class Setup:
    """The deployment's settings that change its costs."""

    api: Literal["rest", "http"] = "http"
    """The kind of API that has the functions' routes."""
    waits: Literal["rest", "http", "edge"] = "edge"
    """How CloudFront reaches a queue: directly at the edge, or through a REST API. HTTP isn't implemented."""
    swept_queues: float = 4
    """The number of queues with a worker: each minute a function asks each of them whether messages wait."""
    schedules: float = 2
    """How often schedules call functions, each minute."""


@dataclass(frozen=True, slots=True)
class Assumptions:
    """Values that can't be measured here."""

    memory_gb: float = 0.5
    warm_s: float = 0.08
    cold_s: float = 0.7
    """How much longer a cold start takes; AWS bills that too."""
    kept_warm_s: float = 420
    """How long a function stays warm after its last request."""
    waking_hours: float = 16
    """The hours of a day in which all messages are sent and people are online."""
    typing_per_message: float = 2
    """For each message a client sends that its user types, and that they have stopped."""
    receipts_per_reader: float = 0.3
    """How many receipts each online reader sends for each message: several messages are read at once."""
    comings_per_day: float = 4
    """How often a day a user opens a client after being away."""
    logins_per_month: float = 0.3
    """How often a month a user adds a device."""
    messages_per_key: float = 50
    """The number of messages in a room after which a sender shares a new key with the devices there."""
    web_share: float = 0.5
    """The share of requests from browsers. They send a preflight before each request, because no URL
    repeats."""
    sync_kb: float = 3
    message_kb_stored: float = 1.4
    gateway_s: float = 0.2
    """How long a push gateway takes to answer."""
    other_servers_s: float = 2
    """How long, in seconds, the slowest of the servers takes that get a message together."""
    media_reads: float = 3
    """How often a file or its thumbnail is downloaded."""


ASSUMPTIONS = Assumptions()


@dataclass
class _Tally:
    """Adds up a month's usage, cause by cause."""

    setup: Setup
    assumed: Assumptions
    causes: dict[str, defaultdict[str, float]] = field(default_factory=dict)

    def add(self, cause: str, name: str, units: float) -> None:
        self.causes.setdefault(cause, defaultdict(float))[name] += units

    def operations(self, cause: str, count: float, op: Op, *, functions: int = 2) -> None:
        """Add `count` times what an operation uses, with its invocations spread over `functions`
        functions.
        """
        self.edge(cause, count * op.requests, f"{self.setup.api}_requests")
        self.invoke(cause, count * op.invocations, functions=functions)
        self.add(cause, "dynamodb_reads", count * op.reads)
        self.add(cause, "dynamodb_writes", count * op.writes)
        self.add(cause, "sqs_requests", count * op.queue)

    def edge(self, cause: str, count: float, api: str) -> None:
        """Add requests to one of the APIs, and the preflights before them."""
        if api != "edge_requests":
            self.add(cause, api, count)
        preflights = count * self.assumed.web_share
        for name in ("cloudfront_requests", "cloudfront_functions"):
            self.add(cause, name, count)
            self.add("preflights of browsers", name, preflights)

    def invoke(self, cause: str, count: float, *, functions: int, seconds: float | None = None) -> None:
        """Add `count` invocations, spread evenly over a number of functions.

        The rarer they are, the more of them start cold.
        """
        assumed = self.assumed
        per_second = count / functions / (DAYS * assumed.waking_hours * 3600)
        cold = count * math.exp(-per_second * assumed.kept_warm_s)
        warm_s = assumed.warm_s if seconds is None else seconds
        self.add(cause, "lambda_requests", count)
        self.add(cause, "lambda_gb_seconds", assumed.memory_gb * count * warm_s)
        self.add("cold starts", "lambda_gb_seconds", assumed.memory_gb * cold * assumed.cold_s)
        self.add("cold starts", "key_requests", cold)


def estimate(
    life: Life,
    waiting: Waiting,
    assumed: Assumptions = ASSUMPTIONS,
    setup: Setup | None = None,
    counts: Counts | None = None,
) -> Usage:
    """Return the monthly usage of a server whose people live like `life`, and whose clients wait by
    `waiting`.
    """
    total: defaultdict[str, float] = defaultdict(float)
    for used in estimate_causes(life, waiting, assumed, setup, counts).values():
        for name, units in used.items():
            total[name] += units
    return dict(total)


def estimate_causes(
    life: Life,
    waiting: Waiting,
    assumed: Assumptions = ASSUMPTIONS,
    setup: Setup | None = None,
    counts: Counts | None = None,
) -> ByCause:
    """Return the same usage by cause. Without `counts`, those of `model` are used."""
    tally = _Tally(setup or Setup(), assumed)
    counts = counts or model.counts(life.rooms, life.audience, life.devices)
    messages = life.users * life.messages_per_day * DAYS
    tally.operations("messages", messages, counts.send)
    tally.operations("typing", messages * assumed.typing_per_message, counts.typing)
    tally.operations("receipts", receipts(life, assumed), counts.receipt)
    starts = life.users * assumed.comings_per_day * DAYS
    tally.operations("clients that start", starts, counts.start, functions=9)
    tally.operations("clients that start", life.users * assumed.logins_per_month, counts.login)
    if life.users > 1:
        places = min(life.rooms, acquaintances(life) * online(life, assumed))
        tally.operations("presence", starts, counts.coming + counts.told * places)
    _add_keys(tally, life, counts, messages)
    _add_waiting(tally, life, waiting, counts, news_of(life, assumed, counts, messages))
    if waiting == "parked":
        tally.add("queues made", "sqs_requests", starts * SLOTS)
    _add_sliding(tally, life, waiting, counts, messages)
    _add_pushes(tally, life, messages)
    _add_federation(tally, life, messages)
    _add_media(tally, life, counts)
    _add_standing(tally, life, messages)
    return {cause: dict(used) for cause, used in tally.causes.items()}


def online(life: Life, assumed: Assumptions) -> float:
    """Return the share of devices that are waiting when a message comes."""
    return min(1.0, life.hours_online / assumed.waking_hours)


def receipts(life: Life, assumed: Assumptions) -> float:
    """Return how many receipts are sent in a month."""
    messages = life.users * life.messages_per_day * DAYS
    return messages * assumed.receipts_per_reader * (life.audience - 1) * online(life, assumed)


def acquaintances(life: Life) -> float:
    """Return the number of people with whom a user shares rooms."""
    return min(life.users, life.rooms * life.audience) - 1


@dataclass(frozen=True, slots=True)
class News:
    """How often devices are rung in a month: for urgent changes, and late, if no urgent change comes first.

    `noted` is how often a late ring was sent, whether or not it woke a device. `keys` are the urgent rings
    for encryption keys.
    """

    urgent: float
    late: float
    noted: float
    keys: float = 0


def news_of(life: Life, assumed: Assumptions, counts: Counts, messages: float) -> News:
    """Return the rings for messages and typing, and the late ones for receipts and presence.

    A late ring serves all changes within `LATE_S`. If an urgent change comes first, it wakes nobody. Both are
    assumed to come at random times.
    """
    there, small = online(life, assumed), life.audience <= SMALL_ROOM
    if life.users == 1:
        listening = max(1.0, life.devices * there)
    else:
        listening = 1 + (life.audience * life.devices - 1) * there
    if life.waiting_s == 0:
        return News(0, 0, 0)
    urgent = messages * listening * (counts.wakes_per_message if small and life.audience > 1 else 1)
    sharing = messages / assumed.messages_per_key if life.audience * life.devices > 1 else 0
    keys = sharing * listening
    urgent += keys
    late = life.users * assumed.comings_per_day * DAYS * acquaintances(life) * life.devices * there
    if not small:
        late = 0
    elif life.audience == 2:
        urgent += receipts(life, assumed) * listening
    else:
        late += receipts(life, assumed) * listening
    pace, late_pace = urgent / life.waiting_s, late / life.waiting_s
    lasts = (1 - math.exp(-pace * LATE_S)) / pace if pace else LATE_S
    noted = life.waiting_s * late_pace / (1 + late_pace * lasts)
    return News(urgent, noted * math.exp(-pace * LATE_S), noted, keys)


def _add_keys(tally: _Tally, life: Life, counts: Counts, messages: float) -> None:
    """Add the usage for encryption: keys that are shared with the devices of a room, and their backups."""
    devices = life.audience * life.devices - 1
    shared = messages / tally.assumed.messages_per_key
    tally.operations("encryption", shared * max(0.0, devices), counts.to_device)
    tally.operations("encryption", shared * (devices + 1), counts.backup)


def _add_waiting(tally: _Tally, life: Life, waiting: Waiting, counts: Counts, news: News) -> None:
    seconds, wakes = life.waiting_s, news.urgent + news.late
    tally.add("news", "cloudfront_gb", wakes * tally.assumed.sync_kb / 1024**2)
    if waiting == "websocket":
        at_all = news.late + _looks_at_all(news, seconds, wakes)
        tally.operations("news", wakes, counts.push)
        tally.operations("news", min(wakes, at_all), _more(counts.push_all, counts.push))
        tally.add("news", "socket_messages", wakes)
        pings = seconds / 300  # one every five minutes
        tally.add("waiting", "socket_minutes", seconds / 60)
        tally.add("waiting", "socket_messages", pings)
        tally.operations("waiting", pings, Op(invocations=1, reads=1))
        return
    if waiting == "held":
        waits = seconds / HELD_S
        tally.operations("news", news.urgent, counts.held_wake)
        tally.operations("waiting", waits, counts.held_wait, functions=1)
        tally.add("waiting", "lambda_gb_seconds", seconds * tally.assumed.memory_gb)
        return
    tally.operations("news", news.urgent, counts.wake)
    at_all = _looks_at_all(news, seconds, wakes)
    tally.operations("news", min(wakes, at_all), _more(counts.wake_all, counts.wake))
    tally.operations("late news", news.late, counts.late_wake)
    tally.operations("late news", news.noted - news.late, model.LATE_NOTE)
    waits = seconds / PARKED_S + wakes / 2  # on average, a ring comes in the middle of a wait
    tally.edge("waiting", waits, f"{tally.setup.waits}_requests")
    tally.add("waiting", "sqs_requests", waits)
    pace = wakes / seconds if seconds else 0
    ended = _ended(pace)
    if (
        tally.setup.waits != "rest"
    ):  # without a mapping template, a second function runs for each answer of /sync
        tally.add("waiting", "cloudfront_functions", waits + wakes + seconds * ended)
    tally.operations("marks that end", seconds * ended, counts.renewal)
    looks = seconds / (PRESENCE_S + 1 / (pace + ended)) if seconds else 0
    tally.operations("presence", looks, model.STAY)


def _looks_at_all(news: News, seconds: float, wakes: float) -> float:
    """Return how often a device that is rung at once looks at everything, if it waits for so long."""
    return news.keys + (seconds / (EVERYTHING_S + seconds / wakes) if wakes else 0)


def _more(op: Op, than: Op) -> Op:
    """Return what an operation reads and writes in addition to another one with as many requests."""
    return Op(reads=op.reads - than.reads, writes=op.writes - than.writes)


def _add_sliding(tally: _Tally, life: Life, waiting: Waiting, counts: Counts, messages: float) -> None:
    """Add the usage of apps with sliding sync, one for each person. They wait for their rooms and keys in
    parallel.

    The same changes ring the list of rooms as ring /sync. The keys' wait is rung only for to-device messages.
    """
    if not life.app_hours:
        return
    apps = replace(life, devices=1, hours_online=life.app_hours)
    news = news_of(apps, tally.assumed, counts, messages)
    seconds = SLIDING_REQUESTS * apps.waiting_s
    shared = messages / tally.assumed.messages_per_key * apps.audience * online(apps, tally.assumed)
    tally.operations("sliding sync", shared, model.SLIDING_KEYS, functions=1)
    if waiting == "held":
        tally.add("sliding sync", "lambda_gb_seconds", seconds * SLIDING_GB)
        tally.operations("sliding sync", seconds / HELD_S, model.sliding_wait(life.rooms), functions=1)
        tally.operations("sliding sync", news.urgent, model.sliding_wake(life.rooms), functions=1)
        return
    wakes = news.urgent + news.late
    tally.operations("sliding sync", wakes, model.sliding_wake(life.rooms), functions=1)
    tally.operations("sliding sync", news.noted - news.late, model.LATE_NOTE)
    waits = seconds / PARKED_S + wakes / 2
    # also at the edge, because the request's body has to be read
    tally.edge("sliding sync", waits, "rest_requests")
    tally.add("sliding sync", "sqs_requests", waits)
    renewals = apps.waiting_s * (_ended(wakes / apps.waiting_s) + 1 / REGISTERED_S)
    tally.operations("sliding sync", renewals, model.sliding_renewal(life.rooms), functions=1)
    starts = life.users * tally.assumed.comings_per_day * DAYS
    tally.add("queues made", "sqs_requests", starts * SLIDING_REQUESTS * SLOTS)


def _ended(pace: float) -> float:
    """Return how many marks end in a second for a client that is rung `pace` times a second."""
    return pace / math.expm1(min(700.0, pace * REGISTERED_S)) if pace else 1 / REGISTERED_S


def _add_pushes(tally: _Tally, life: Life, messages: float) -> None:
    told = messages * (life.audience - 1) * life.phones
    tally.operations("pushes", told, model.NOTIFY, functions=1)
    tally.add("pushes", "lambda_gb_seconds", told * tally.assumed.memory_gb * tally.assumed.gateway_s)


def _add_federation(tally: _Tally, life: Life, messages: float) -> None:
    sent = model.sending(life.servers)
    tally.operations("federation", messages, sent, functions=1)
    waited_s = messages * sent.invocations * tally.assumed.other_servers_s
    tally.add("federation", "lambda_gb_seconds", waited_s * tally.assumed.memory_gb)
    tally.operations("federation", life.remote_events * DAYS, model.TAKEN)


def _add_media(tally: _Tally, life: Life, counts: Counts) -> None:
    assumed = tally.assumed
    megabytes = life.users * life.media_mb_per_day * DAYS
    files = megabytes / 1  # files of 1 MB
    tally.operations("media", files, counts.upload)
    tally.operations("media", files * assumed.media_reads, counts.download)
    tally.add("media", "s3_puts", files)
    tally.add("media", "s3_gets", files * assumed.media_reads)
    tally.add("media", "s3_gb", megabytes / 1024 * life.stored_months)
    tally.add("media", "cloudfront_gb", megabytes / 1024 * assumed.media_reads)


def _add_standing(tally: _Tally, life: Life, messages: float) -> None:
    """Add the monthly costs that aren't caused by requests: storage, monitoring, and everything that runs
    permanently.
    """
    stored_gb = messages * tally.assumed.message_kb_stored / 1024**2 * life.stored_months
    tally.add("storage", "dynamodb_gb", stored_gb)
    tally.add("storage", "dynamodb_backup_gb", stored_gb)
    invoked = sum(used["lambda_requests"] for used in tally.causes.values())
    tally.add("watching", "log_gb", invoked * 2e-8)  # at WARN, one line for every fifty
    tally.add("watching", "alarms", 10)
    tally.add("watching", "dashboards", 1)
    setup, minutes = tally.setup, DAYS * 1440
    if setup.api == "http":  # errors are counted in the log, because HTTP APIs have no common name
        tally.add("watching", "metrics", 1)
    tally.add("idle queues", "sqs_requests", setup.swept_queues * minutes)
    tally.invoke("schedules", setup.schedules * minutes, functions=2, seconds=0.01)
    tally.add("schedules", "dynamodb_reads", setup.schedules * minutes * 0.5)


def scaled(counts: Mapping[str, float], seconds: float) -> Usage:
    """Return the usage of a month at the pace of a run that took `seconds`."""
    return {name: count * DAYS * 86_400 / seconds for name, count in counts.items()}
