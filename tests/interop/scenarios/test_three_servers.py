"""Two of ours and a Synapse in one room: apart while all of them write, and killed at each step."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from urllib.parse import quote

import pytest

from local_cloud.database.dynoxide import DynoxideError, find_binary
from local_cloud.federate.certificates import Authority
from murmuration.aws import dynamodb
from operators import operating
from tests.interop.wire import Moment, Wire

from .people import Person, eventually, where
from .servers import Homeserver, Ours, Theirs
from .test_talking import agree

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("synapse")]

HOURS_MS = 3 * 3_600_000
GONE_S = 60.0
TRANSACTION = "PUT /_matrix/federation/v1/send/"


@dataclass(frozen=True, slots=True)
class Three:
    """Two of ours, a Synapse, and what lies between them."""

    wire: Wire
    first: Ours
    second: Ours
    theirs: Theirs

    @property
    def all(self) -> tuple[Homeserver, ...]:
        return self.first, self.second, self.theirs

    @property
    def ours(self) -> tuple[Ours, Ours]:
        return self.first, self.second

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return list(itertools.combinations((server.server_name for server in self.all), 2))

    def try_again(self) -> None:
        """Do what our servers do after ten minutes. The Synapse tries again every few seconds."""
        for server in self.ours:
            server.try_again(*(other for other in self.all if other is not server))


@pytest.fixture(scope="module")
def three(python_with_synapse: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    try:
        find_binary()
    except DynoxideError as error:
        pytest.skip(str(error))
    authority = Authority(tmp_path_factory.mktemp("authority"))
    wire = Wire(authority)
    ours = [Ours(tmp_path_factory.mktemp(f"ours{number}"), authority, wire) for number in range(2)]
    theirs = Theirs(python_with_synapse, tmp_path_factory.mktemp("synapse"), authority, wire)
    servers: list[Homeserver] = [*ours, theirs]
    try:
        for server in servers:
            server.start()
        yield Three(wire, ours[0], ours[1], theirs)
    finally:
        for server in servers:
            server.stop()
        wire.close()


class Shared:
    """A room with somebody of each server, who all may change its state; all that was said in it."""

    def __init__(self, three: Three, version: str) -> None:
        self.people = [server.person(f"m{version}-") for server in three.all]
        host, *guests = self.people
        self.room_id = host.create(version, power_level_content_override={"state_default": 0})
        for guest in guests:
            guest.join(self.room_id, host.server_name)
            guest.is_told(self.room_id, "join")
        for person in self.people:
            eventually(partial(self._knows_all, person), "all are in")
            person.sync(0)
            person.room(self.room_id).is_limited = False
        self.said: set[str] = set()

    def _knows_all(self, person: Person) -> bool:
        return len(person.members(self.room_id)) == len(self.people)

    def say(self, person: Person, text: str) -> None:
        """Send a message, and repeat the same request until it is answered."""
        self.said.add(text)
        path = f"{where(self.room_id)}/send/m.room.message/{quote(text)}"
        stubbornly(lambda: person.call("PUT", path, {"msgtype": "m.text", "body": text}))

    def all_write(self, word: str, number: int) -> None:
        """Let all write at once, change the same state, and sync meanwhile."""

        def write(person: Person) -> None:
            for count in range(number):
                self.say(person, f"{word} {count} of {person.user_id}")
                if count % 4 == 1:
                    note = {"topic": f"{word} {count} of {person.user_id}"}
                    for kind in ("m.room.topic", "org.example.note"):
                        stubbornly(partial(person.put_state, self.room_id, kind, note))
                stubbornly(lambda: person.sync(0))

        with ThreadPoolExecutor(len(self.people)) as pool:
            list(pool.map(write, self.people))

    def is_one(self) -> None:
        """Wait until all have the same state and all messages.

        Fails if a client got an event twice, or if a client whose timeline was never limited lacks an event.
        """
        for person in self.people:
            person.reads_all(self.room_id, self.said)
        agree(self.room_id, *self.people)
        for person in self.people:
            self.say(person, f"one room again, says {person.user_id}")
        for person in self.people:
            person.reads_all(self.room_id, self.said)
        agree(self.room_id, *self.people)
        for person in self.people:
            self._check_sync(person)

    def _check_sync(self, person: Person) -> None:
        history = {event["event_id"]: event["type"] for event in person.history(self.room_id)}
        messages = {event_id for event_id, kind in history.items() if kind == "m.room.message"}
        room = person.room(self.room_id)
        person.until(lambda: room.is_limited or messages <= set(room.told), "all that was said")
        assert len(room.told) == len(set(room.told))
        assert set(room.told) <= history.keys()


def stubbornly(do: Callable[[], object]) -> None:
    """Repeat an action while the server isn't reachable."""
    deadline = time.monotonic() + GONE_S
    while True:
        try:
            do()
        except (OSError, HTTPException):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


@pytest.mark.parametrize("version", ["1", "12"])
def test_all_write_while_none_reaches_another(three: Three, version: str) -> None:
    room = Shared(three, version)
    room.all_write("together", 5)
    with three.wire.cut(*three.pairs):
        room.all_write("apart", 13)
    three.try_again()
    room.all_write("again together", 5)
    room.is_one()


@pytest.mark.parametrize("alone", [0, 2], ids=["ours", "synapse"])
def test_one_is_cut_off_for_hours(three: Three, alone: int) -> None:
    """The events of hours aren't sent one by one: the newest is sent, and the receiver asks for the
    others.
    """
    room = Shared(three, "10")
    name = three.all[alone].server_name
    with three.wire.cut(*(pair for pair in three.pairs if name in pair)):
        room.all_write("apart", 20)
        for server in three.ours:
            _grow_old(server)
    three.try_again()
    room.all_write("again together", 3)
    room.is_one()


def _grow_old(server: Ours) -> None:
    """Pretend that others have been unreachable for hours."""
    with operating.connected(server.cloud.data, None):
        for item in dynamodb.scan("destinations"):
            if "since_ms" in item:
                key = {"server_name": item["server_name"], "sk": item["sk"]}
                values = {":since": item["since_ms"] - HOURS_MS}
                dynamodb.execute(dynamodb.update("destinations", key, "SET since_ms = :since", values=values))


@pytest.mark.parametrize("moment", ["asked", "passed on", "answered"])
@pytest.mark.parametrize("direction", ["out", "in"])
def test_ours_is_killed_in_the_middle_of_a_transaction(three: Three, direction: str, moment: Moment) -> None:
    """The server and its functions are killed by kill -9 twice, each time in the middle of another
    transaction.
    """
    room = Shared(three, "10")
    victim = three.first.cloud
    killed = threading.Event()

    def happens(now: Moment, origin: str, destination: str, line: str) -> None:
        here = origin if direction == "out" else destination
        is_it = now == moment and here == victim.server_name
        if is_it and line.startswith(TRANSACTION) and not killed.is_set():
            victim.kill9()
            killed.set()

    for round_ in range(2):
        killed.clear()
        with three.wire.watched(happens), ThreadPoolExecutor(1) as pool:
            writing = pool.submit(room.all_write, f"round {round_}", 6)
            assert killed.wait(GONE_S), "no transaction came by"
            victim.start()
            writing.result()
        three.try_again()
    room.is_one()
