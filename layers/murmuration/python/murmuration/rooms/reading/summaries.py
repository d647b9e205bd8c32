"""Summaries of rooms: what those who aren't in a room may know of it.

https://spec.matrix.org/v1.19/client-server-api/#room-summaries
"""

from __future__ import annotations

from typing import Any

from murmuration.identity.tokens import Requester
from murmuration.protocol.errors import NotFound
from murmuration.protocol.visibility import visibility_of
from murmuration.rooms.lookup import fits_id
from murmuration.rooms.membership.joining import resolve
from murmuration.rooms.membership.restricted_joins import allowed_rooms, is_in_any
from murmuration.rooms.room import Room
from murmuration.storage.rooms import room_items

SUMMARISED = tuple(
    (f"m.room.{name}", "")
    for name in (
        "create",
        "name",
        "topic",
        "avatar",
        "canonical_alias",
        "join_rules",
        "history_visibility",
        "guest_access",
        "encryption",
    )
)
"""The state that a summary is made of."""


SHORTENED = ("name", "topic")
"""What is shortened if it is too long; the rest is left out."""
MOST_CHARACTERS = {
    "name": 255,
    "topic": 2_000,
    "avatar_url": 1_000,
    "canonical_alias": 255,
    "join_rule": 255,
    "room_type": 255,
}


def listing(room: Room) -> dict[str, Any]:
    """What the directory shows of a room. Reads its state unless that is at hand."""
    contents = _contents(room)
    fields = {
        "name": contents["name"].get("name"),
        "topic": _plain_topic(contents["topic"]),
        "avatar_url": contents["avatar"].get("url"),
        "canonical_alias": contents["canonical_alias"].get("alias"),
        "join_rule": contents["join_rules"].get("join_rule"),
        "room_type": contents["create"].get("type"),
    }
    return {
        "room_id": room.room_id,
        "num_joined_members": room.head.joined,
        "world_readable": visibility_of(contents["history_visibility"]) == "world_readable",
        "guest_can_join": contents["guest_access"].get("guest_access") == "can_join",
        **{
            name: _shortened(value, MOST_CHARACTERS[name])
            for name, value in fields.items()
            if isinstance(value, str) and value and (name in SHORTENED or len(value) <= MOST_CHARACTERS[name])
        },
    }


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def summary(room: Room) -> dict[str, Any]:
    """What a room summary says of a room."""
    contents = _contents(room)
    algorithm = contents["encryption"].get("algorithm")
    allowed = _allowed_rooms(room)
    return {
        **listing(room),
        "room_version": room.version.id,
        **({"encryption": algorithm} if isinstance(algorithm, str) else {}),
        **({"allowed_room_ids": allowed} if allowed else {}),
    }


def _contents(room: Room) -> dict[str, dict[str, Any]]:
    found = room.events(SUMMARISED)
    return {
        pair[0].removeprefix("m.room."): found[pair].content if pair in found else {} for pair in SUMMARISED
    }


def _plain_topic(content: dict[str, Any]) -> object:
    """The topic as plain text. https://spec.matrix.org/v1.19/client-server-api/#mroomtopic"""
    block = content.get("m.topic")
    texts = block.get("m.text") if isinstance(block, dict) else None
    for text in texts if isinstance(texts, list) else ():
        if isinstance(text, dict) and text.get("mimetype", "text/plain") == "text/plain":
            return text.get("body")
    return content.get("topic")


def _allowed_rooms(room: Room) -> list[str]:
    rules = room.event("m.room.join_rules")
    if rules is None or rules.content.get("join_rule") not in ("restricted", "knock_restricted"):
        return []
    return allowed_rooms(rules.content.get("allow"))


def get_room_summary(requester: Requester | None, room_id_or_alias: str) -> dict[str, Any]:
    """The summary of a room, with the requester's membership.

    Raises InvalidParam, NotFound for a room that is unknown or none of the requester's business.
    """
    if not fits_id(room_id_or_alias):
        raise NotFound("There is no such room")
    room_id = resolve(room_id_or_alias)
    head = room_items.read_head(room_id)
    if head is None:
        raise NotFound("There is no such room")
    room = Room(head)
    membership = room.membership(requester.user_id) if requester else None
    if not may_know(requester, room, membership):
        raise NotFound("There is no such room")
    return summary(room) | ({"membership": membership or "leave"} if requester else {})


def may_know(requester: Requester | None, room: Room, membership: str | None) -> bool:
    """Return whether the room is open to the requester, or they have part in it."""
    found = listing(room)
    if membership in ("join", "invite", "knock"):
        return True
    if found["world_readable"] or found.get("join_rule") in ("public", "knock", "knock_restricted"):
        return True
    return requester is not None and is_in_any(requester.user_id, _allowed_rooms(room))
