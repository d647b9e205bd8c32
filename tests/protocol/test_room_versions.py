from __future__ import annotations

from dataclasses import fields

import pytest

from murmuration import settings
from murmuration.protocol.errors import UnsupportedRoomVersion
from murmuration.protocol.identifiers import RoomId
from murmuration.protocol.room_versions import (
    ROOM_VERSIONS,
    EventIDFormat,
    RoomVersion,
    get_room_version,
)

# Which versions have what, read off the pages of https://spec.matrix.org/v1.19/rooms/
EXPECTED = {
    "strict_canonical_json": range(6, 13),
    "redacts_in_content": range(11, 13),
    "create_event_is_room_id": range(12, 13),
    "event_id_server_signature": range(1, 3),
    "enforce_key_validity": range(5, 13),
    "special_case_redaction_auth": range(1, 3),
    "special_case_aliases_auth": range(1, 6),
    "limit_notifications_power_levels": range(6, 13),
    "knocking": range(7, 13),
    "restricted_join_rule": range(8, 13),
    "knock_restricted": range(10, 13),
    "integer_power_levels": range(10, 13),
    "implicit_room_creator": range(11, 13),
    "privileged_creators": range(12, 13),
    "additional_creators": range(12, 13),
    "redaction_keeps_aliases": range(1, 6),
    "redaction_keeps_join_rules_allow": range(8, 13),
    "redaction_keeps_authorising_user": range(9, 13),
    "updated_redaction_rules": range(11, 13),
}


def test_versions_1_to_12_are_there_and_12_is_the_default() -> None:
    assert list(ROOM_VERSIONS) == [str(number) for number in range(1, 13)]
    assert all(version.id == key and version.stable for key, version in ROOM_VERSIONS.items())
    assert settings.DEFAULT_ROOM_VERSION == "12"
    assert tuple(ROOM_VERSIONS) == settings.ROOM_VERSIONS


@pytest.mark.parametrize("number", range(1, 13))
def test_each_version_has_its_rules(number: int) -> None:
    version = ROOM_VERSIONS[RoomId(str(number))]
    for name, numbers in EXPECTED.items():
        assert getattr(version, name) is (number in numbers), name


def test_every_flag_is_expected_above() -> None:
    others = {"id", "stable", "event_id_format", "state_resolution"}
    assert {field.name for field in fields(RoomVersion)} == set(EXPECTED) | others


def test_event_ids_and_state_resolution_by_version() -> None:
    formats = [version.event_id_format for version in ROOM_VERSIONS.values()]
    assert formats == (
        [EventIDFormat.SERVER_ASSIGNED] * 2
        + [EventIDFormat.HASH_STANDARD_B64]
        + [EventIDFormat.HASH_URLSAFE_B64] * 9
    )
    resolutions = [version.state_resolution for version in ROOM_VERSIONS.values()]
    assert resolutions == ["v1"] + ["v2"] * 10 + ["v2.1"]


@pytest.mark.parametrize("version_id", ["0", "13", "", "1 ", "org.example", 1, None, ["1"], {}])
def test_other_versions_are_not_supported(version_id: object) -> None:
    with pytest.raises(UnsupportedRoomVersion):
        get_room_version(version_id)


def test_a_version_is_found_by_its_id() -> None:
    assert get_room_version("11") is ROOM_VERSIONS[RoomId("11")]
