"""The rules about m.room.create."""

from __future__ import annotations

from murmuration.protocol.auth_rules.table import Facts, Refusal, Rule, RuleTable, Verdict, allow
from murmuration.protocol.event_types import CREATE
from murmuration.protocol.identifiers import is_valid_user_id, server_name_of
from murmuration.protocol.room_versions import ROOM_VERSIONS, RoomVersion


def check_create(facts: Facts) -> Verdict:
    """If type is m.room.create: the nested rules, and no others."""
    return _CREATE_RULES(facts) if facts.event.type == CREATE else None


def _no_prev_events(facts: Facts) -> Verdict:
    return (
        Refusal("A create event has no previous events", malformed=True) if facts.event.prev_events else None
    )


def _room_id_of_sender(facts: Facts) -> Verdict:
    if server_name_of(facts.event.room_id) != facts.event.sender_server:
        return Refusal("The room ID of a create event has the domain of its sender", malformed=True)
    return None


def _no_room_id(facts: Facts) -> Verdict:
    if "room_id" in facts.event.pdu:
        return Refusal("A create event has no room_id: its own hash is that", malformed=True)
    return None


def _known_room_version(facts: Facts) -> Verdict:
    room_version = facts.event.content.get("room_version", "1")
    if not isinstance(room_version, str) or room_version not in ROOM_VERSIONS:
        return Refusal("The create event names a room version that is not known here", malformed=True)
    return None


def _has_creator(facts: Facts) -> Verdict:
    return (
        None
        if "creator" in facts.event.content
        else Refusal("The create event names no creator", malformed=True)
    )


def _valid_additional_creators(facts: Facts) -> Verdict:
    creators = facts.event.content.get("additional_creators", [])
    if not isinstance(creators, list) or not all(map(_is_user_id, creators)):
        return Refusal("The additional_creators of a create event are an array of user IDs", malformed=True)
    return None


def _is_user_id(value: object) -> bool:
    return isinstance(value, str) and is_valid_user_id(value)


def _room_id_is_apart(version: RoomVersion) -> bool:
    return not version.create_event_is_room_id


_CREATE_RULES = RuleTable(
    Rule(_no_prev_events),
    Rule(_room_id_of_sender, only_in=_room_id_is_apart),
    Rule(_no_room_id, only_in=lambda version: version.create_event_is_room_id),
    Rule(_known_room_version),
    Rule(_has_creator, only_in=lambda version: not version.implicit_room_creator),
    Rule(_valid_additional_creators, only_in=lambda version: version.additional_creators),
    Rule(allow),
)
