from __future__ import annotations

from typing import Any

import pytest

from murmuration.protocol.encoding import unpadded_base64
from murmuration.protocol.errors import BadJson, TooLarge
from murmuration.protocol.identifiers import RoomId, ServerName
from murmuration.protocol.pdus.building import complete_event, hash_and_sign
from murmuration.protocol.pdus.event_format import max_depth
from murmuration.protocol.pdus.hashing import reference_hash, verify_content_hash
from murmuration.protocol.pdus.validation import check_signatures
from murmuration.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from tests.protocol.small_rooms import ALICE, BOB, KEY_RING, KEYS, OTHER_SERVER, SERVER, VERSIONS, SmallRoom

each_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: f"v{version.id}")


@each_version
def test_a_built_event_is_hashed_and_signed(version: RoomVersion) -> None:
    for event in SmallRoom(version).events.values():
        assert verify_content_hash(event.pdu)
        check_signatures(event, KEY_RING)
        assert set(event.pdu["signatures"]) == {event.sender_server}


@each_version
def test_a_pdu_has_the_keys_of_its_versions_format(version: RoomVersion) -> None:
    room = SmallRoom(version)
    always = {"type", "sender", "content", "depth", "origin_server_ts", "hashes", "signatures"}
    always |= {"prev_events", "auth_events"} | ({"event_id"} if int(version.id) <= 2 else set())
    create_keys = always | {"state_key"} | (set() if version.id == "12" else {"room_id"})
    assert set(room.create.pdu) == create_keys
    assert set(room.make("m.room.message", {}).pdu) == always | {"room_id"}


@each_version
def test_references_are_those_of_the_version_s_format(version: RoomVersion) -> None:
    room = SmallRoom(version)
    assert room.last is not None
    (reference,) = room.make("m.room.message", {}).pdu["prev_events"]
    if int(version.id) <= 2:
        digest = unpadded_base64.encode(reference_hash(room.last.pdu, version))
        assert reference == [room.last.event_id, {"sha256": digest}]
    else:
        assert reference == room.last.event_id


def test_versions_1_and_2_need_the_reference_hashes() -> None:
    with pytest.raises(ValueError, match="reference hashes"):
        SmallRoom(ROOM_VERSIONS[RoomId("1")]).make("m.room.message", {}, reference_hashes=None)
    with pytest.raises(BadJson):
        SmallRoom(ROOM_VERSIONS[RoomId("1")]).make("m.room.message", {}, event_id=None)


@each_version
def test_the_caller_s_content_is_left_alone(version: RoomVersion) -> None:
    content: dict[str, Any] = {"reason": "spam"}
    SmallRoom(version).make("m.room.redaction", content, redacts="$target")
    assert content == {"reason": "spam"}


@each_version
def test_depth_stays_at_the_limit(version: RoomVersion) -> None:
    event = SmallRoom(version).make("m.room.message", {}, depth=2**70)
    assert event.depth == max_depth(version)


@each_version
@pytest.mark.parametrize(
    "changes",
    [
        {"content": {"body": "a" * 65_536}},
        {"event_type": "a" * 256},
        {"event_type": "é" * 128},
        {"state_key": "a" * 256},
        {"state_key": "é" * 128},
    ],
)
def test_what_is_too_large_is_not_built(version: RoomVersion, changes: dict[str, Any]) -> None:
    with pytest.raises(TooLarge):
        SmallRoom(version).make(**{"event_type": "m.room.message", "content": {}, **changes})


@each_version
def test_content_the_version_cannot_hold_is_not_built(version: RoomVersion) -> None:
    room = SmallRoom(version)
    with pytest.raises(BadJson):
        room.make("m.room.message", {"body": "\ud800"})
    if version.strict_canonical_json:
        with pytest.raises(BadJson):
            room.make("m.room.message", {"number": 1.5})
    else:
        assert room.make("m.room.message", {"number": 1.5}).content == {"number": 1.5}


@each_version
def test_a_template_is_completed(version: RoomVersion) -> None:
    made = SmallRoom(version).make("m.room.member", {"membership": "join"}, sender=BOB, state_key=BOB)
    template = {key: value for key, value in made.pdu.items() if key not in ("hashes", "signatures")}
    for nonsense in (
        {},
        {"signatures": [], "hashes": 1, "unsigned": None},
        {"signatures": {SERVER: {"a:b": "c"}}},
    ):
        completed = complete_event(
            {**template, **nonsense}, ServerName(OTHER_SERVER), KEYS[OTHER_SERVER], version
        )
        assert completed.pdu == made.pdu
    for malformed in ({"prev_events": None}, {"sender": "bob"}, {"depth": -1}):
        with pytest.raises(BadJson):
            complete_event({**template, **malformed}, ServerName(OTHER_SERVER), KEYS[OTHER_SERVER], version)


def test_hashing_and_signing_keeps_other_signatures() -> None:
    version = ROOM_VERSIONS[RoomId("12")]
    event = SmallRoom(version).make("m.room.message", {}, sender=ALICE)
    both = hash_and_sign(event.pdu, ServerName(OTHER_SERVER), KEYS[OTHER_SERVER], version)
    assert set(both["signatures"]) == {SERVER, OTHER_SERVER}
