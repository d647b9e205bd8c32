"""Receiving events and scrolling back, stopped at each write and repeated: no event is missing.

The queue's worker has tests of its own (`test_stopping.py`). Here are the ways into the tables beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from murmuration.protocol.identifiers import DeviceId, UserId
from tests.faults import Do, Look, stop_everywhere
from tests.federation.devices.conftest import encrypted_room, make_elsewhere
from tests.federation.devices.elsewhere import Elsewhere
from tests.federation.devices.test_ephemera import ephemeral, receipt_edu
from tests.federation.devices.test_messages import inbox
from tests.federation.devices.test_tracking import Told, devices, query
from tests.federation.inbound import test_gaps
from tests.federation.inbound.test_gaps import Clock, clock
from tests.federation.inbound.test_transactions import said
from tests.federation.network import Reply
from tests.federation.peers import Worker
from tests.in_process import Client
from tests.keys.crypto import CrossSigning
from tests.logged_in import log_in
from tests.rooms.other_servers import Mirror, log_ids
from tests.rooms.people import send

__all__ = ["clock", "make_elsewhere"]
LONG_HOURS, RETRY_HOURS = 50, 2


@dataclass
class Scene:
    """Alice here, and Bob elsewhere, in an encrypted room."""

    alice: Client
    elsewhere: Elsewhere
    room: Mirror
    worker: Worker
    clock: Clock

    @property
    def bob(self) -> UserId:
        return self.elsewhere.bob

    def deliver(self, *contents: dict[str, Any], kind: str = "m.device_list_update") -> None:
        """Send a transaction until it is accepted, and do the work that it queues."""
        if self.elsewhere.tell(*contents, kind=kind).status != 200:
            raise ConnectionError
        self.worker.run()


def update_of_a_device(scene: Scene) -> tuple[Do, Look]:
    """Return an update that follows one that was fetched with the whole list, so its predecessor is known."""
    scene.elsewhere.log_in("PHONE")
    devices(scene.alice, scene.bob)
    scene.deliver(scene.elsewhere.log_in("LAPTOP"))
    scene.worker.run()
    told, update = Told(scene.alice), scene.elsewhere.log_in("TABLET")
    return lambda: scene.deliver(update), lambda: (told.changed(), devices(scene.alice, scene.bob))


def update_that_follows_nothing(scene: Scene) -> tuple[Do, Look]:
    scene.elsewhere.log_in("PHONE")
    devices(scene.alice, scene.bob)
    told, update = Told(scene.alice), {**scene.elsewhere.log_in("TABLET"), "prev_id": []}
    return lambda: scene.deliver(update), lambda: (told.changed(), devices(scene.alice, scene.bob))


def signing_keys(scene: Scene) -> tuple[Do, Look]:
    scene.elsewhere.log_in("PHONE")
    query(scene.alice, scene.bob)
    told, keys = Told(scene.alice), CrossSigning(scene.bob)
    update = {"user_id": scene.bob, "master_key": keys.key("master")}
    scene.elsewhere.signing = {"master": keys.key("master")}

    def look() -> Any:
        known = query(scene.alice, scene.bob)["master_keys"]
        return told.changed(), known == {scene.bob: keys.key("master")}

    return lambda: scene.deliver(update, kind="m.signing_key_update"), look


def receipt(scene: Scene) -> tuple[Do, Look]:
    event_id = send(scene.alice, scene.room.room_id)
    content = receipt_edu(scene.room, scene.bob, event_id)

    def look() -> Any:
        return list(ephemeral(scene.alice, scene.room.room_id, "m.receipt")[event_id]["m.read"])

    return lambda: scene.deliver(content, kind="m.receipt"), look


def scrolling_back(scene: Scene) -> tuple[Do, Look]:
    sent = [scene.room.message(scene.bob, f"m{number}") for number in range(25)]
    scene.elsewhere.lies["get_missing_events"] = {"events": []}
    scene.elsewhere.send(sent[-1])
    scene.worker.run()

    def look() -> Any:
        scene.clock.advance(LONG_HOURS)
        return said(scene.alice, scene.room), len(log_ids(scene.room.room_id))

    return lambda: said(scene.alice, scene.room), look


def parked_event(scene: Scene) -> tuple[Do, Look]:
    scene.room.message(scene.bob, "lost")
    late = scene.room.message(scene.bob, "late")
    questions = ("get_missing_events", "state_ids", "state", "event", "event_auth")
    scene.elsewhere.lies = dict.fromkeys(questions, Reply({}, 404))
    scene.elsewhere.send(late)
    scene.worker.run()
    assert test_gaps.said(scene.alice, scene.room) == []
    scene.elsewhere.lies = {}

    def retry() -> None:
        scene.clock.advance(RETRY_HOURS)
        scene.worker.retry()

    def look() -> list[str]:
        retry()  # one that was put off, and not queued, is tried the next time
        return test_gaps.said(scene.alice, scene.room)

    return retry, look


def whole_transaction(scene: Scene) -> tuple[Do, Look]:
    """Return a transaction with events of two rooms and with EDUs that are stored.

    The first room's events need several messages in the queue.
    """
    other = encrypted_room(scene.alice, scene.elsewhere)
    first = [scene.room.message(scene.bob, f"m{number} {'x' * 60_000}") for number in range(5)]
    second = [other.message(scene.bob, f"n{number}") for number in range(2)]
    scene.elsewhere.log_in("PHONE")
    devices(scene.alice, scene.bob)
    told, update = Told(scene.alice), {**scene.elsewhere.log_in("TABLET"), "prev_id": []}
    read = receipt_edu(scene.room, scene.bob, send(scene.alice, scene.room.room_id))
    contents = {
        "m.direct_to_device": scene.elsewhere.message({scene.alice.user_id: {"ALICE": {"n": 1}}}),
        "m.device_list_update": update,
        "m.receipt": read,
    }
    edus = [{"edu_type": kind, "content": content} for kind, content in contents.items()]

    def deliver() -> None:
        answer = scene.elsewhere.send(*first, *second, edus=edus)
        if answer.status != 200:
            assert answer.status >= 500
            raise ConnectionError

    def look() -> Any:
        scene.worker.run()
        rooms = [[text[:2] for text in said(scene.alice, it)] for it in (scene.room, other)]
        logs = [
            log_ids(it.room_id).count(event.event_id)
            for it in (scene.room, other)
            for event in first + second
        ]
        return (
            rooms, logs, inbox(scene.alice), told.changed(), devices(scene.alice, scene.bob),
            len(ephemeral(scene.alice, scene.room.room_id, "m.receipt")),
        )  # fmt: skip

    return deliver, look


KINDS = (
    whole_transaction, update_of_a_device, update_that_follows_nothing, signing_keys, receipt,
    scrolling_back, parked_event,
)  # fmt: skip
QUEUING = frozenset((whole_transaction, update_that_follows_nothing, parked_event))
"""Those that put something into the queue, where a stop may be too."""


@pytest.mark.parametrize("prepare", KINDS, ids=lambda it: it.__name__)
def test_what_was_interrupted_and_repeated_is_done(
    fresh_user_id: Callable[[str], str],
    make_elsewhere: Callable[[], Elsewhere],
    worker: Worker,
    clock: Clock,
    prepare: Callable[[Scene], tuple[Do, Look]],
) -> None:
    def begin() -> tuple[Do, Look]:
        alice, elsewhere = log_in(UserId(fresh_user_id("alice")), DeviceId("ALICE")), make_elsewhere()
        return prepare(Scene(alice, elsewhere, encrypted_room(alice, elsewhere), worker, clock))

    whole = stop_everywhere(begin, _named)
    assert ("SendMessage" in whole.operations) == (prepare in QUEUING)


def _named(seen: Any) -> str:
    """Return what was seen, without the values that differ from scene to scene."""
    return re.sub(r"@bob:[\w.-]+", "bob", str(seen))
