from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murmuration.protocol.identifiers import RoomId
from murmuration.protocol.pdus.redaction import redact
from murmuration.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from tests.protocol.small_rooms import VERSIONS

NUMBERS = range(1, 13)
# https://spec.matrix.org/v1.19/rooms/: "the server must strip off any keys not in the following list"
ALWAYS = {"event_id", "type", "room_id", "sender", "state_key", "content", "hashes", "signatures", "depth"}
ALWAYS |= {"prev_events", "auth_events", "origin_server_ts"}
UNTIL_V10 = {"prev_state", "origin", "membership"}
POWER_LEVELS = {
    "ban",
    "events",
    "events_default",
    "kick",
    "redact",
    "state_default",
    "users",
    "users_default",
}


def kept_content(number: int) -> dict[str, set[str]]:
    """Return the lists of content keys, by event type, as the page of that version has them."""
    return {
        "m.room.member": {"membership"} | ({"join_authorised_via_users_server"} if number >= 9 else set()),
        "m.room.create": {"creator"},
        "m.room.join_rules": {"join_rule"} | ({"allow"} if number >= 8 else set()),
        "m.room.power_levels": POWER_LEVELS | ({"invite"} if number >= 11 else set()),
        "m.room.history_visibility": {"history_visibility"},
        "m.room.aliases": {"aliases"} if number <= 5 else set(),
        "m.room.redaction": {"redacts"} if number >= 11 else set(),
        "m.room.message": set(),
    }


EVERY_KEY = {
    *(key for number in NUMBERS for keys in kept_content(number).values() for key in keys),
    "notifications",
    "room_version",
    "body",
    "third_party",
    "m.federate",
}


@pytest.mark.parametrize("number", NUMBERS)
def test_top_level_keys(number: int) -> None:
    others = {"unsigned", "redacts", "age_ts", "prev_content", "replaces_state", "org.example.key"}
    pdu: dict[str, Any] = dict.fromkeys(ALWAYS | UNTIL_V10 | others, "x") | {"content": {}}
    kept = ALWAYS | (UNTIL_V10 if number <= 10 else set())
    assert set(redact(pdu, ROOM_VERSIONS[RoomId(str(number))])) == kept


@pytest.mark.parametrize("number", NUMBERS)
def test_content_keys(number: int) -> None:
    for event_type, kept in kept_content(number).items():
        pdu = {"type": event_type, "content": dict.fromkeys(EVERY_KEY, "x")}
        expected = EVERY_KEY if event_type == "m.room.create" and number >= 11 else kept
        assert set(redact(pdu, ROOM_VERSIONS[str(number)])[RoomId("content")]) == expected, event_type


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    ("invite", "kept"),
    [
        (
            {"signed": {"mxid": "@a:b"}, "display_name": "A"},
            {"third_party_invite": {"signed": {"mxid": "@a:b"}}},
        ),
        ({"display_name": "A"}, {"third_party_invite": {}}),
        ("not an object", {}),
    ],
)
def test_the_signed_part_of_a_third_party_invite(number: int, invite: Any, kept: dict[str, Any]) -> None:
    pdu = {"type": "m.room.member", "content": {"membership": "invite", "third_party_invite": invite}}
    expected = {"membership": "invite", **(kept if number >= 11 else {})}
    assert redact(pdu, ROOM_VERSIONS[str(number)])[RoomId("content")] == expected


@pytest.mark.parametrize("content", [None, [], "text", 1])
def test_content_that_is_no_object_is_emptied(content: object) -> None:
    for version in VERSIONS:
        assert redact({"type": "m.room.create", "content": content}, version) == {
            "type": "m.room.create",
            "content": {},
        }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(sorted(EVERY_KEY | {"signed"})), inner),
    max_leaves=8,
)
CONTENT = st.dictionaries(st.sampled_from(sorted(EVERY_KEY | {"third_party_invite"})), JSON)
PDUS = st.fixed_dictionaries(
    {"type": st.sampled_from(sorted(kept_content(12))) | JSON, "content": CONTENT | JSON},
    optional={
        key: JSON
        for key in sorted(ALWAYS | UNTIL_V10 | {"unsigned", "redacts"})
        if key not in {"type", "content"}
    },
)


@given(PDUS, st.sampled_from(VERSIONS))
def test_redacting_twice_is_redacting_once_and_leaves_the_event_alone(
    pdu: dict[str, Any], version: RoomVersion
) -> None:
    before = copy.deepcopy(pdu)
    once = redact(pdu, version)
    assert pdu == before
    assert redact(once, version) == once
    assert set(once) <= set(pdu)
