"""Redactions that other servers made, whichever comes first: they or their targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.storage.rooms import event_store, room_items
from tests.in_process import Client
from tests.rooms.other_servers import OTHER, Mirror
from tests.rooms.people import messages, ok, path
from tests.rooms.receiving.test_receiving import BOB, CAROL, RESOLUTIONS, open_room, soft_failed_fork
from tests.sync.client import Syncing, timeline

Make = Callable[..., Client]


def redaction(mirror: Mirror, sender: UserId, target: Event, **changes: Any) -> Event:
    content: dict[str, Any] = {"reason": "bad"}
    if mirror.version.redacts_in_content:
        content["redacts"] = target.event_id
    else:
        changes["redacts"] = target.event_id
    return mirror.make(sender, "m.room.redaction", content, **changes)


def shown(alice: Client, mirror: Mirror) -> dict[str, Any]:
    return {event["event_id"]: event for event in messages(alice, mirror.room_id, limit=100)["chunk"]}


@pytest.mark.parametrize("version", RESOLUTIONS)
def test_target_first(alice: Client, version: str) -> None:
    mirror = open_room(alice, version)
    syncing = Syncing(alice)
    syncing.sync()
    said = mirror.message(BOB, "regrettable")
    gone = redaction(mirror, BOB, said)
    assert mirror.kinds(said, gone) == ["accepted", "accepted"]
    event = shown(alice, mirror)[said.event_id]
    assert event["content"] == {}
    assert event["unsigned"]["redacted_because"]["event_id"] == gone.event_id
    assert [it["event_id"] for it in timeline(syncing.room(mirror.room_id))] == [said.event_id, gone.event_id]


def test_redaction_first_waits_unseen(alice: Client) -> None:
    mirror = open_room(alice)
    base = mirror.newest()
    said = mirror.message(BOB, "regrettable", after=base)
    gone = redaction(mirror, BOB, said, after=base)
    assert mirror.kinds(gone) == ["accepted"]
    assert gone.event_id not in shown(alice, mirror)
    assert alice.get(path(mirror.room_id, "event", gone.event_id)).status == 404
    assert mirror.kinds(said) == ["accepted"]
    event = shown(alice, mirror)[said.event_id]
    assert event["content"] == {}
    assert event["unsigned"]["redacted_because"]["event_id"] == gone.event_id


@pytest.mark.parametrize("first", ["target", "redaction"])
def test_without_the_power_it_does_nothing_and_isn_t_shown(alice: Client, first: str) -> None:
    mirror = open_room(alice)
    base = mirror.newest()
    said = mirror.message(UserId(alice.user_id), "stays", after=base)
    gone = redaction(mirror, BOB, said, after=base)
    order = [said, gone] if first == "target" else [gone, said]
    assert mirror.kinds(*order) == ["accepted", "accepted"]
    events = shown(alice, mirror)
    assert events[said.event_id]["content"]["body"] == "stays"
    assert gone.event_id not in events


def test_power_of_the_redaction_s_own_time(alice: Client) -> None:
    mirror = open_room(alice)
    said = mirror.message(UserId(alice.user_id), "regrettable")
    levels = mirror.state(UserId(alice.user_id), "m.room.power_levels", {"users": {BOB: 50}})
    gone = redaction(mirror, BOB, said)
    assert set(mirror.kinds(said, levels, gone)) == {"accepted"}
    assert shown(alice, mirror)[said.event_id]["content"] == {}


def test_state_stays_current_in_redacted_form(alice: Client) -> None:
    mirror = open_room(alice)
    named = mirror.topic(UserId(alice.user_id), "regrettable")
    gone = redaction(mirror, UserId(alice.user_id), named)
    mirror.send(named, gone)
    assert ok(alice.get(path(mirror.room_id, "state", "m.room.topic"))) == {}


def test_soft_failed_target_keeps_nothing_either(alice: Client) -> None:
    mirror, ban, topic = soft_failed_fork(alice, "1")
    gone = redaction(mirror, UserId(alice.user_id), topic, after=ban)
    assert mirror.kinds(ban, topic, gone) == ["accepted", "soft_failed", "accepted"]
    kept = event_store.read([topic.event_id], mirror.version, RoomId(mirror.room_id))[topic.event_id]
    assert (kept.kind, kept.event.content) == ("soft_failed", {})
    merge = mirror.message(UserId(CAROL), "saw both", after=[gone, topic])
    assert mirror.kinds(merge) == ["accepted"]
    assert ok(alice.get(path(mirror.room_id, "state", "m.room.topic"))) == {}


def test_target_of_another_room(alice: Client) -> None:
    mirror, other = open_room(alice), open_room(alice)
    said = other.message(BOB, "elsewhere")
    other.send(said)
    gone = redaction(mirror, BOB, said)
    assert mirror.kinds(gone) == ["accepted"]
    assert gone.event_id not in shown(alice, mirror)
    entry = room_items.read_log(RoomId(other.room_id), other.version)[-1]
    assert (entry.event.event_id, entry.event.content["body"]) == (said.event_id, "elsewhere")
    assert OTHER in BOB
