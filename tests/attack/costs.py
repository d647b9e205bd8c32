"""Loops that run up a bill (D): each goes on until it is refused, and its hour is computed from that.

Budgets are a fraction of what they are by default, so that a loop gets to the end of one in seconds; its hour
is multiplied by as much. What the server's meter counts includes what its workers do.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from local_cloud import meter
from local_cloud.testing import LocalCloud
from operators.costs.prices import PRICES
from tests.attack.figures import COSTS, Figure
from tests.e2e.conftest import ENVIRONMENT
from tests.e2e.raw import PASSWORD, V3, Answer, Raw, register, segment

MOST_DOLLARS = 0.5
BUDGET = 240_000
"""Microdollars an hour, as by default."""
BURST = BUDGET * 25 // 60
NOT_FROZEN = "2100-01-01T00:00:00Z"
"""Until when uploaded media can be had without a token."""
DEVICES = 30
MEMBERS = 12
_numbers = itertools.count(1)

Request = Callable[[], Answer]


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop: `prepare` sets the stage while nothing is limited, and makes the request to repeat.

    It has a budget that is `smaller` by that factor.
    """

    name: str
    prepare: Callable[[LocalCloud], Request]
    smaller: int = 10


@dataclass(slots=True)
class Run:
    """What came of a loop: how often it went, how long, and whether it was refused in the end."""

    accepted: int
    smaller: int
    seconds: float
    was_refused: bool
    sent_bytes: int
    counts: Mapping[str, float] = field(default_factory=dict)

    @property
    def dollars(self) -> float:
        """What it cost, at list prices."""
        return sum(PRICES[name].of(units, free_tier=False) for name, units in self.counts.items())

    @property
    def hourly(self) -> float:
        """What an hour of it costs. One that was refused has spent a burst; the rest comes back in the hour.

        One that wasn't refused goes on at its pace.
        """
        if not self.was_refused:
            return self.dollars / self.seconds * 3600
        return self.dollars * self.smaller * (BURST + BUDGET) / BURST


def _send(user: Raw, method: str, uri: str, body: bytes = b"") -> Answer:
    """Send a request on a connection of its own, since the server was restarted after the stage was set."""
    connection = user.again()
    try:
        return connection.request(method, uri, body)
    finally:
        connection.close()


def _put(user: Raw, uri: str, body: object) -> Answer:
    return _send(user, "PUT", V3 + uri, json.dumps(body).encode())


def to_device(cloud: LocalCloud) -> Request:
    alice, bob = register(cloud, "todevice"), register(cloud, "todevices")
    login = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": bob.user_id}}
    for _ in range(DEVICES):
        Raw(cloud).json("POST", f"{V3}/login", {**login, "password": PASSWORD})
    body = {"messages": {bob.user_id: {"*": {"x": "x" * 64_000}}}}
    return lambda: _put(alice, f"/sendToDevice/m.x/{next(_numbers)}", body)


def backup_keys(cloud: LocalCloud) -> Request:
    alice = register(cloud, "backup")
    algorithm = "m.megolm_backup.v1.curve25519-aes-sha2"
    made = {"algorithm": algorithm, "auth_data": {"public_key": "x", "signatures": {}}}
    version = alice.json("POST", f"{V3}/room_keys/version", made)["version"]
    key = {"first_message_index": 0, "forwarded_count": 0, "is_verified": False}

    def send() -> Answer:
        data = {"ciphertext": "x" * 62_000, "ephemeral": "x", "mac": "x"}
        sessions = {f"s{next(_numbers)}": {**key, "session_data": data} for _ in range(10)}
        body = {"rooms": {"!r:example.org": {"sessions": sessions}}}
        return _put(alice, f"/room_keys/keys?version={version}", body)

    return send


def account_data(cloud: LocalCloud) -> Request:
    alice = register(cloud, "accountdata")
    data = f"/user/{segment(alice.user_id)}/account_data"
    return lambda: _put(alice, f"{data}/m.x{next(_numbers)}", {"x": "x" * 64_000})


def initial_sync(cloud: LocalCloud) -> Request:
    alice = register(cloud, "initialsync")
    for number in range(20):
        alice.create_room(name=f"Room {number}", topic="x" * 500)
    return lambda: _send(alice, "GET", f"{V3}/sync")


def _room_of_listeners(cloud: LocalCloud, name: str) -> tuple[Raw, str]:
    """Return a user and the ID of a room in which others wait for news."""
    alice = register(cloud, name)
    room_id = alice.create_room(preset="public_chat")
    for number in range(MEMBERS):
        other = register(cloud, f"{name}{number}")
        other.join(room_id)
        since = other.json("GET", f"{V3}/sync")["next_batch"]
        other.json("GET", f"{V3}/sync?since={since}&timeout=1000")
    return alice, room_id


def device_name(cloud: LocalCloud) -> Request:
    alice, _ = _room_of_listeners(cloud, "rename")
    return lambda: _put(alice, f"/devices/{alice.device_id}", {"display_name": f"x{next(_numbers)}"})


def typing(cloud: LocalCloud) -> Request:
    alice, room_id = _room_of_listeners(cloud, "typing")
    uri = f"/rooms/{segment(room_id)}/typing/{segment(alice.user_id)}"
    return lambda: _put(alice, uri, {"typing": True, "timeout": 30_000 + next(_numbers)})


def downloads(cloud: LocalCloud) -> Request:
    alice = register(cloud, "downloads")
    answer = alice.request("POST", "/_matrix/media/v3/upload", b"x" * 2_000_000)
    media = answer.json["content_uri"].removeprefix("mxc://")
    return lambda: _send(Raw(cloud), "GET", f"/_matrix/media/v3/download/{media}")


def sliding_sync(cloud: LocalCloud) -> Request:
    alice = register(cloud, "sliding")
    for number in range(20):
        alice.create_room(name=f"Room {number}", topic="x" * 500)
    rooms = {"ranges": [[0, 19]], "timeline_limit": 20, "required_state": [["*", "*"]]}
    body = json.dumps({"lists": {"all": rooms}}).encode()
    uri = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
    return lambda: _send(alice, "POST", uri, body)


def directory(cloud: LocalCloud) -> Request:
    alice = register(cloud, "directory")
    for number in range(50):
        alice.create_room(name=f"Room {number}", topic="x" * 2_000, visibility="public", preset="public_chat")
    return lambda: _send(Raw(cloud), "GET", f"{V3}/publicRooms")


def search(cloud: LocalCloud) -> Request:
    alice = register(cloud, "search")
    room_id = alice.create_room()
    for _ in range(20):
        alice.send(room_id, "found " + "x" * 30_000)
    body = {"search_categories": {"room_events": {"search_term": "nowhere"}}}
    return lambda: _send(alice, "POST", f"{V3}/search", json.dumps(body).encode())


LOOPS = tuple(
    Loop(name, prepare, smaller)
    for name, prepare, smaller in (
        (f"messages of 64 kB to {DEVICES} devices", to_device, 10),
        ("ten backed-up keys of 62 kB", backup_keys, 10),
        ("account data of 64 kB", account_data, 10),
        ("initial syncs of 20 rooms", initial_sync, 10),
        (f"renaming a device beside {MEMBERS} who wait", device_name, 50),
        (f"typing beside {MEMBERS} who wait", typing, 50),
        ("downloads of 2 MB without a token", downloads, 10),
        ("first sliding syncs of 20 rooms", sliding_sync, 10),
        ("the directory of 50 rooms without a token", directory, 10),
        ("searches in 20 messages of 30 kB", search, 10),
    )
)
SHORT = LOOPS[:3]


def attack_bill(folder: Path, loops: tuple[Loop, ...], *, seconds: float) -> list[Figure]:
    """Run each loop for so many seconds at most."""
    return [
        Figure(
            COSTS,
            f"an hour of {loop.name}",
            run(folder / str(number), loop, seconds).hourly,
            MOST_DOLLARS,
            "dollars",
        )
        for number, loop in enumerate(loops)
    ]


def run(folder: Path, loop: Loop, seconds: float) -> Run:
    """Set the stage on a server without limits, then repeat the request on one with them."""
    folder.mkdir(parents=True)
    environment = {
        **ENVIRONMENT,
        "MURMURATION_HOURLY_BUDGET": str(BUDGET // loop.smaller),
        "MURMURATION_UNAUTHENTICATED_MEDIA_BEFORE": NOT_FROZEN,
    }
    with LocalCloud(folder, {"rate-limits": "off"}, environment=environment) as cloud:
        send = loop.prepare(cloud)
        cloud.options.update({"rate-limits": "on", "meter": "on"})
        cloud.restart()
        found = _repeat(send, loop.smaller, seconds)
        cloud.stop(patience=30)
    usage = next(folder.rglob("usage.json"))
    counts, _ = meter.load(usage)
    found.counts = {**counts, "cloudfront_gb": found.sent_bytes / 2**30}
    return found


def _repeat(send: Request, smaller: int, seconds: float) -> Run:
    started = time.monotonic()
    accepted, sent_bytes = 0, 0
    while (passed := time.monotonic() - started) < seconds:
        answer = send()
        if answer.status == 429:
            return Run(accepted, smaller, time.monotonic() - started, True, sent_bytes)
        assert answer.status == 200, answer
        accepted += 1
        sent_bytes += len(answer.body)
    return Run(accepted, smaller, passed, False, sent_bytes)
