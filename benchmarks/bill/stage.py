"""The stage: a local cloud with a meter in this process, people with devices, and clients that wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import requests

from local_cloud.cloud import Cloud
from local_cloud.config import Config
from local_cloud.database.dynoxide import free_port
from operators.costs.counts import Op

V3 = "/_matrix/client/v3"
QUIET_S = 0.3
"""How long nothing may be counted until all operations count as finished."""
PATIENCE_S = 60
DISTANCE_S = 0.25
"""How long an answer and the next request are assumed to take. A client that comes back before the worker has
noted its ring looks at everything. That takes milliseconds at AWS, and much longer on a busy machine."""


class Stuck(Exception):
    """The server didn't become idle, or a client waits in vain."""


@dataclass
class Person:
    """One device of a user."""

    url: str
    user_id: str = ""
    device_id: str = ""
    session: requests.Session = field(default_factory=requests.Session)
    since: str | None = None
    _numbers: int = 0

    def ask(self, method: str, path: str, body: Any = None, *, base: str = V3, **query: Any) -> Any:
        """Return the answer's JSON, or its bytes if it isn't JSON."""
        data = body if isinstance(body, bytes) else None
        answer = self.session.request(
            method,
            self.url + base + path,
            json=None if data is not None else body,
            data=data,
            params={name: value for name, value in query.items() if value is not None},
            timeout=60,
        )
        if answer.status_code >= 400:
            raise Stuck(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        kind = answer.headers.get("Content-Type", "")
        return answer.json() if kind.startswith("application/json") else answer.content

    def log_in(self, name: str, *, new: bool) -> Person:
        """Register, or log in with another device."""
        if new:
            body = {"username": name, "password": "correct horse", "auth": {"type": "m.login.dummy"}}
            answer = self.ask("POST", "/register", body)
        else:
            identifier = {"type": "m.id.user", "user": name}
            login = {"type": "m.login.password", "identifier": identifier, "password": "correct horse"}
            answer = self.ask("POST", "/login", login)
        self.user_id, self.device_id = answer["user_id"], answer["device_id"]
        self.session.headers["Authorization"] = f"Bearer {answer['access_token']}"
        return self

    def room(self, room_id: str, rest: str) -> str:
        return f"/rooms/{quote(room_id, safe='')}/{rest}"

    def send(self, room_id: str) -> str:
        self._numbers += 1
        path = self.room(room_id, f"send/m.room.encrypted/{self.device_id}{self._numbers}")
        content = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x" * 600}
        return str(self.ask("PUT", path, content)["event_id"])

    def type(self, room_id: str, *, typing: bool) -> None:
        body = {"typing": typing, **({"timeout": 30_000} if typing else {})}
        self.ask("PUT", self.room(room_id, f"typing/{quote(self.user_id)}"), body)

    def read(self, room_id: str, event_id: str) -> None:
        self.ask("POST", self.room(room_id, f"receipt/m.read/{quote(event_id, safe='')}"), {})

    def be(self, presence: str) -> None:
        self.ask("PUT", f"/presence/{quote(self.user_id)}/status", {"presence": presence})

    def sync(self, timeout_ms: int = 0) -> Any:
        answer = self.ask("GET", "/sync", since=self.since, timeout=timeout_ms)
        self.since = answer["next_batch"]
        return answer


class Stage:
    """A running local cloud, its counts, and the clients that wait."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.url = cloud.config.url
        self._names = 0

    def person(self, name: str = "") -> Person:
        """Return a new user."""
        if name:
            return Person(self.url).log_in(name, new=False)
        self._names += 1
        return Person(self.url).log_in(f"user{self._names}", new=True)

    def device_of(self, person: Person) -> Person:
        """Return another device of a user."""
        return self.person(person.user_id[1:].partition(":")[0])

    def people(self, count: int) -> list[Person]:
        return [self.person() for _ in range(count)]

    def room(self, members: Sequence[Person]) -> str:
        """Create an encrypted room with these members, and return its ID."""
        first, *others = members
        state = [{"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}]
        body = {"preset": "public_chat", "name": "Room", "initial_state": state}
        room_id = str(first.ask("POST", "/createRoom", body)["room_id"])
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda each: each.ask("POST", f"/join/{quote(room_id, safe='')}", {}), others))
        return room_id

    def rest(self, quiet_s: float = QUIET_S) -> dict[str, float]:
        """Wait until all operations are finished, and return the counts."""
        meter = self.cloud.meter
        if meter is None:
            raise Stuck("the local cloud has no meter")
        deadline = time.monotonic() + PATIENCE_S
        counts, since = meter.snapshot(), time.monotonic()
        while time.monotonic() - since < quiet_s:
            if time.monotonic() > deadline:
                raise Stuck("the server didn't come to rest")
            time.sleep(0.02)
            now = meter.snapshot()
            if now != counts:
                counts, since = now, time.monotonic()
        return counts

    def count(self, work: Callable[[], object], *, quiet_s: float = QUIET_S) -> Counted:
        """Return what `work` and all its consequences use."""
        before = self.rest()
        work()
        after = self.rest(quiet_s)
        return Counted({name: count - before.get(name, 0) for name, count in after.items()})

    @contextmanager
    def waiting(self, devices: Sequence[Person]) -> Iterator[None]:
        """Make devices wait as clients do, while the block runs."""
        stop = threading.Event()

        def live(device: Person) -> None:
            while not stop.is_set():
                try:
                    device.sync(20_000)
                    stop.wait(DISTANCE_S)
                except (requests.RequestException, Stuck):
                    if not stop.is_set():
                        raise

        threads = [threading.Thread(target=live, args=(device,), daemon=True) for device in devices]
        for thread in threads:
            thread.start()
        self.rest()
        try:
            yield
        finally:
            stop.set()


@dataclass(frozen=True)
class Counted:
    """The counts between two moments."""

    counts: dict[str, float]

    def get(self, name: str) -> float:
        return self.counts.get(name, 0)

    @property
    def op(self) -> Op:
        """The counts as an operation, without the creation of queues. Requests that wait at the edge don't
        use an API.
        """
        return Op(
            self.get("http_requests"),
            self.get("lambda_requests"),
            self.get("dynamodb_reads"),
            self.get("dynamodb_writes"),
            self.get("sqs_requests") - self.waits - self.get("queues_made"),
        )

    @property
    def waits(self) -> float:
        return self.get("parked")


@contextmanager
def running(folder: Path, waiting: Literal["parked", "held"]) -> Iterator[Stage]:
    """Yield a local cloud with its meter. Limits are on, so that they are counted, but too high to delay
    anything.
    """
    from murmuration.identity import rate_limits
    from murmuration.identity.rate_limits import Limit

    kept = rate_limits.LIMITS
    rate_limits.LIMITS = dict.fromkeys(kept, Limit(1000, 10_000))
    config = Config(
        port=free_port(),
        data=folder,
        registration="open",
        waiting=waiting,
        meter=True,
        variables={"PASSWORD_COST": "4", "HOURLY_BUDGET": "900000000"},
    )
    cloud = Cloud(config)
    cloud.start()
    try:
        yield Stage(cloud)
    finally:
        cloud.stop()
        rate_limits.LIMITS = kept
