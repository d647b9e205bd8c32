from __future__ import annotations

from typing import Any

import pytest

from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import EventId, RoomId
from murmuration.protocol.room_versions import ROOM_VERSIONS, RoomVersion

from .small_rooms import ALICE, BOB, OTHER_SERVER, START_MS, VERSIONS, SmallRoom

each_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: f"v{version.id}")


@each_version
def test_an_event_s_properties(version: RoomVersion) -> None:
    room = SmallRoom(version)
    previous = room.last
    assert previous is not None
    event = room.send("m.room.topic", {"topic": "starlings"}, sender=BOB, state_key="")
    assert event.room_id == room.room_id
    assert (event.type, event.state_key, event.state_pair) == ("m.room.topic", "", ("m.room.topic", ""))
    assert (event.sender, event.sender_server) == (BOB, OTHER_SERVER)
    assert event.is_state
    assert not event.is_create
    assert event.content == {"topic": "starlings"}
    assert event.depth == 6
    assert event.origin_server_ts == START_MS + 5
    assert event.prev_events == (previous.event_id,)
    assert set(event.auth_events) <= set(room.events)
    assert all(isinstance(event_id, str) for event_id in event.auth_events)
    assert event.unsigned == {}


@each_version
def test_storage_keeps_an_event_whole(version: RoomVersion) -> None:
    event = SmallRoom(version).make("m.room.message", {"body": "☃", "number": 1})
    stored = Event({**event.pdu, "unsigned": {"age": 1}}, version).to_json()
    restored = Event.from_json(stored, version)
    assert restored.pdu == {**event.pdu, "unsigned": {"age": 1}}
    assert restored.event_id == event.event_id
    assert Event.from_json(stored.encode(), version, EventId("$known")).event_id == "$known"


def test_a_message_is_no_state() -> None:
    event = SmallRoom(ROOM_VERSIONS[RoomId("12")]).make("m.room.message", {"membership": "join"})
    assert (event.is_state, event.state_key, event.state_pair, event.membership) == (False, None, None, None)


@each_version
def test_the_room_of_a_create_event(version: RoomVersion) -> None:
    create = SmallRoom(version).create
    assert create.is_create
    if version.create_event_is_room_id:
        assert "room_id" not in create.pdu
        assert create.room_id == "!" + create.event_id[1:]
    else:
        assert create.room_id == create.pdu["room_id"]


@pytest.mark.parametrize("changes", [{"state_key": "other"}, {"type": "m.room.topic"}])
def test_a_create_event_has_its_type_and_an_empty_state_key(changes: Any) -> None:
    create = SmallRoom(ROOM_VERSIONS[RoomId("12")]).create
    pdu: Any = {**create.pdu, **changes, "room_id": "!elsewhere"}
    event = Event(pdu, create.room_version)
    assert not event.is_create
    assert event.room_id == "!elsewhere"


@each_version
def test_membership_is_a_string_or_nothing(version: RoomVersion) -> None:
    room = SmallRoom(version)
    assert room.state[("m.room.member", ALICE)].membership == "join"
    for content in ({}, {"membership": None}, {"membership": ["join"]}):
        pdu: Any = {"type": "m.room.member", "content": content}
        assert Event(pdu, version).membership is None


@each_version
def test_redacts_is_read_where_the_version_keeps_it(version: RoomVersion) -> None:
    redaction = SmallRoom(version).make("m.room.redaction", {"reason": "spam"}, redacts="$target")
    assert redaction.redacts == "$target"
    assert ("redacts" in redaction.pdu) is (not version.redacts_in_content)
    assert ("redacts" in redaction.content) is version.redacts_in_content
    elsewhere: Any = {"type": "m.room.redaction", "content": {}, "redacts": "$a"}
    if not version.redacts_in_content:
        elsewhere = {"type": "m.room.redaction", "content": {"redacts": "$a"}}
    assert Event(elsewhere, version).redacts is None
    not_a_string: Any = {"type": "m.room.redaction", "content": {"redacts": 1}, "redacts": 1}
    assert Event(not_a_string, version).redacts is None
    no_redaction: Any = {"type": "m.room.message", "content": {"redacts": "$a"}, "redacts": "$a"}
    assert Event(no_redaction, version).redacts is None


@each_version
def test_a_redacted_event_has_the_same_id(version: RoomVersion) -> None:
    event = SmallRoom(version).make("m.room.message", {"body": "gone"})
    redacted = event.redacted()
    assert redacted.content == {}
    assert event.content == {"body": "gone"}
    assert redacted.event_id == event.event_id == Event(redacted.pdu, version, None).event_id


def test_an_events_repr_has_its_id() -> None:
    event = SmallRoom(ROOM_VERSIONS[RoomId("12")]).create
    assert event.event_id in repr(event)
