from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.errors import BadJson, MatrixError, TooLarge
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import RoomId
from murmuration.protocol.pdus.event_format import (
    MAX_PDU_BYTES,
    check_field_sizes,
    check_format,
    max_depth,
    parse_pdu,
)
from murmuration.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from tests.protocol.small_rooms import VERSIONS, SmallRoom

each_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: f"v{version.id}")
HASH_ID = "$" + "A" * 43


def pdu_of(version: RoomVersion, **changes: Any) -> dict[str, Any]:
    return {**SmallRoom(version).make("m.room.message", {"body": "hello"}).pdu, **changes}


def reference(version: RoomVersion) -> Any:
    return ["$a:b", {"sha256": "x"}] if version.server_assigned_event_ids else HASH_ID


@each_version
def test_events_of_the_version_pass_and_lose_their_unsigned(version: RoomVersion) -> None:
    room = SmallRoom(version)
    for event in room.events.values():
        received = parse_pdu({**event.pdu, "unsigned": {"age": 1}}, version)
        assert received.pdu == event.pdu
        assert received.event_id == event.event_id
    pdu = pdu_of(version)
    assert check_format(pdu, version) is pdu


WRONG: dict[str, list[Any]] = {
    "type": [None, 1, ["m"]],
    "sender": [None, 1, "", "alice", "@alice", "@a\0:b", "@alice:exa mple", "@" + "a" * 250 + ":b.example"],
    "content": [None, [], "text"],
    "depth": [None, "1", -1, True, [1], 1.5],
    "origin_server_ts": [None, "1", True, {}, 1.5],
    "hashes": [None, [], {}, {"sha256": 1}, {"md5": "x"}],
    "signatures": [None, [], {"a": None}, {"a": ["x"]}, {"a": {"ed25519:1": 1}}],
    "prev_events": [
        None,
        {},
        "x",
        [1],
        [None],
        [[]],
        [["$a:b"]],
        ["$not-a-hash"],
        [["x", {}]],
        [["$a:b", "x"]],
    ],
    "auth_events": [
        None,
        {},
        "x",
        [1],
        [None],
        [[]],
        [["$a:b"]],
        ["$not-a-hash"],
        [["x", {}]],
        [["$a:b", "x"]],
    ],
    "state_key": [None, 1, {}],
    "room_id": [None, 1, "", "!", "!room", "!" + "a" * 44],
}


@each_version
@pytest.mark.parametrize("key", WRONG)
def test_values_of_the_wrong_shape_are_refused(version: RoomVersion, key: str) -> None:
    for value in WRONG[key]:
        with pytest.raises(BadJson):
            check_format(pdu_of(version, **{key: value}), version)


@each_version
def test_missing_keys_are_refused(version: RoomVersion) -> None:
    required = set(WRONG) - {"state_key"} | ({"event_id"} if version.server_assigned_event_ids else set())
    for key in required:
        pdu = pdu_of(version)
        del pdu[key]
        with pytest.raises(BadJson):
            check_format(pdu, version)


@each_version
def test_the_specification_s_schema_has_no_other_requirements(version: RoomVersion) -> None:
    if "MATRIX_SPEC" not in os.environ:
        pytest.skip("MATRIX_SPEC does not say where the specification's data is")
    definitions = Path(os.environ["MATRIX_SPEC"], "data/api/server-server/definitions")
    number = int(version.id)
    name = {1: "v1", 2: "v1", 3: "v3", 11: "v11", 12: "v12"}.get(number, "v4" if number < 6 else "v6")
    required = required_by(definitions / f"pdu_{name}.yaml")
    assert {"type", "sender", "prev_events"} <= required
    for key in required:
        pdu = pdu_of(version)
        del pdu[key]
        with pytest.raises(BadJson):
            check_format(pdu, version)


def required_by(path: Path) -> set[str]:
    """Return the keys that a schema and the schemas in it require at the top level."""
    schemas = [yaml.safe_load(path.read_text())]
    required: set[str] = set()
    for schema in schemas:
        required |= set(schema.get("required", ()))
        for part in schema.get("allOf", ()):
            schemas.append(
                yaml.safe_load((path.parent / part["$ref"]).read_text()) if "$ref" in part else part
            )
    return required


@each_version
def test_the_number_of_references_is_limited(version: RoomVersion) -> None:
    for key, limit in (("prev_events", 20), ("auth_events", 10)):
        check_format(pdu_of(version, **{key: [reference(version)] * limit}), version)
        with pytest.raises(BadJson):
            check_format(pdu_of(version, **{key: [reference(version)] * (limit + 1)}), version)


@each_version
def test_depth_has_the_limit_of_the_version(version: RoomVersion) -> None:
    assert max_depth(version) == (2**53 - 1 if int(version.id) >= 6 else 2**63 - 1)
    for depth in (0, max_depth(version)):
        check_format(pdu_of(version, depth=depth), version)
    with pytest.raises(BadJson):
        check_format(pdu_of(version, depth=max_depth(version) + 1), version)


@each_version
@pytest.mark.parametrize("number", [1.5, 2.0, 2**53, -(2**53)])
def test_numbers_must_be_canonical_from_version_6_on(version: RoomVersion, number: float) -> None:
    pdu = pdu_of(version, content={"nested": [{"number": number}]})
    if int(version.id) >= 6:
        with pytest.raises(BadJson):
            check_format(pdu, version)
    else:
        check_format(pdu, version)


@each_version
def test_integers_written_as_floats_are_read_before_version_6(version: RoomVersion) -> None:
    pdu = pdu_of(version, depth=12.0, origin_server_ts=34.0)
    if int(version.id) >= 6:
        with pytest.raises(BadJson):
            check_format(pdu, version)
        return
    event = parse_pdu(pdu, version)
    assert (event.depth, event.origin_server_ts) == (12, 34)
    for number in (float("nan"), float("inf")):
        with pytest.raises(BadJson):
            check_format(pdu_of(version, depth=number), version)


@each_version
def test_text_that_is_no_unicode_is_refused_in_any_version(version: RoomVersion) -> None:
    for changes in (
        {"content": {"body": "\ud800"}},
        {"content": {"\ud800": 1}},
        {"type": "\ud800"},
        {"\ud800": 1},
    ):
        with pytest.raises(BadJson):
            check_format(pdu_of(version, **changes), version)


@each_version
def test_redacts_at_the_top_is_a_string_where_it_has_a_meaning(version: RoomVersion) -> None:
    pdu = pdu_of(version, redacts=1)
    if version.redacts_in_content:
        check_format(pdu, version)
    else:
        with pytest.raises(BadJson):
            check_format(pdu, version)


@each_version
def test_only_events_of_versions_1_and_2_carry_their_id(version: RoomVersion) -> None:
    """In later versions it would be part of the hash that is the ID. Other servers drop such events too."""
    for event_id in (None, 1, "", "$", "$a", HASH_ID, "!a:b"):
        with pytest.raises(BadJson):
            check_format(pdu_of(version, event_id=event_id), version)
    named = pdu_of(version, event_id="$a:b.example")
    if version.server_assigned_event_ids:
        assert parse_pdu(named, version).event_id == "$a:b.example"
    else:
        with pytest.raises(BadJson):
            check_format(named, version)


def test_only_a_create_event_of_version_12_has_no_room_id() -> None:
    version = ROOM_VERSIONS[RoomId("12")]
    create = SmallRoom(version).create.pdu
    check_format(create, version)
    check_format({**create, "room_id": "!any"}, version)  # for the authorisation rules to reject
    with pytest.raises(BadJson):
        check_format({**create, "state_key": "other"}, version)
    with pytest.raises(BadJson):
        check_format(create, ROOM_VERSIONS[RoomId("11")])


@each_version
def test_the_whole_event_is_limited(version: RoomVersion) -> None:
    room = len(canonical_json.encode(pdu_of(version, content={"body": ""}), strict=False))
    for letter in ("a", "é"):
        fitting = letter * ((MAX_PDU_BYTES - room) // len(letter.encode()))
        check_format(pdu_of(version, content={"body": fitting}), version)
        with pytest.raises(TooLarge):
            check_format(pdu_of(version, content={"body": fitting + letter}), version)


@each_version
@pytest.mark.parametrize(
    "unsigned", [{"prev_content": {"body": "a" * MAX_PDU_BYTES}}, {"age": 1.5}, {"n": 2**60}, [], "x", None]
)
def test_what_is_unsigned_says_nothing_about_the_event(version: RoomVersion, unsigned: Any) -> None:
    """Servers add anything to it, and it isn't stored. No event may be dropped because of it."""
    pdu = pdu_of(version)
    assert parse_pdu({**pdu, "unsigned": unsigned}, version).pdu == pdu


@each_version
@pytest.mark.parametrize("key", ["type", "state_key"])
def test_fields_are_limited_in_characters_at_once_and_in_bytes_later(version: RoomVersion, key: str) -> None:
    check_field_sizes(parse_pdu(pdu_of(version, **{key: "a" * 255}), version))
    check_field_sizes(parse_pdu(pdu_of(version, **{key: "é" * 127}), version))
    with pytest.raises(TooLarge):
        check_format(pdu_of(version, **{key: "a" * 256}), version)
    too_long_in_bytes = parse_pdu(pdu_of(version, **{key: "é" * 128}), version)
    with pytest.raises(TooLarge):
        check_field_sizes(too_long_in_bytes)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(categories=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(JSON, st.sampled_from(VERSIONS))
def test_no_value_crashes(value: Any, version: RoomVersion) -> None:
    with pytest.raises(MatrixError):
        check_format(value, version)


BASES = {version.id: pdu_of(version) for version in VERSIONS}


@given(
    st.sampled_from(VERSIONS),
    st.dictionaries(
        st.sampled_from(sorted({*WRONG, "event_id", "redacts", "unsigned"})), JSON, min_size=1, max_size=2
    ),
)
def test_whatever_passes_reads_without_a_crash(version: RoomVersion, changes: dict[str, Any]) -> None:
    try:
        event = parse_pdu({**BASES[version.id], **changes}, version)
    except MatrixError:
        return
    properties = [name for name in dir(Event) if isinstance(getattr(Event, name), property)]
    assert len(properties) > 15
    for name in properties:
        getattr(event, name)
    assert Event.from_json(event.to_json(), version).event_id == event.event_id
