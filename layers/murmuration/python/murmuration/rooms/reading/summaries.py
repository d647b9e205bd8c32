"""Summaries of rooms for users outside of them. Events of erased users aren't shown.

https://spec.matrix.org/v1.19/client-server-api/#room-summaries
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, cast

from murmuration.identity.tokens import Requester
from murmuration.protocol.encoding.shapes import Content, EventFields
from murmuration.protocol.event_types import JOIN_RULES, SPACE_CHILD
from murmuration.protocol.events import Event
from murmuration.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from murmuration.protocol.visibility import visibility_of
from murmuration.rooms.membership.restricted_joins import allowed_rooms, is_in_any
from murmuration.rooms.reading import erasures
from murmuration.rooms.room import Room
from murmuration.storage.rooms import room_items

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import StrippedState
    from murmuration.protocol.filters import AnyEvent
    from murmuration.protocol.identifiers import RoomId
    from murmuration.rooms.json_types import ListedTexts, RoomListing, RoomSummary, SpaceRoom

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
"""The state from which a summary is made."""
_OPEN_RULES: Mapping[str, Callable[[RoomVersion], bool]] = {
    "public": lambda _: True,
    "knock": lambda version: version.knocking,
    "knock_restricted": lambda version: version.knock_restricted,
}
"""Join rules of rooms whose summary anyone may see, and which room versions have them."""
_RESTRICTED_RULES: Mapping[str, Callable[[RoomVersion], bool]] = {
    "restricted": lambda version: version.restricted_join_rule,
    "knock_restricted": lambda version: version.knock_restricted,
}
"""Join rules with a list of rooms whose members may join, and which room versions have them."""
SHORTENED = ("name", "topic")
"""The fields that are shortened if they are too long. Other fields are then left out."""
MOST_CHARACTERS = {
    "name": 255,
    "topic": 2_000,
    "avatar_url": 1_000,
    "canonical_alias": 255,
    "join_rule": 255,
    "room_type": 255,
}


def listing(room: Room) -> RoomListing:
    """Return a room in the form of the directory. Reads the room's state unless it is cached."""
    contents = _contents(room)
    fields = {
        "name": contents["name"].get("name"),
        "topic": _plain_topic(contents["topic"]),
        "avatar_url": contents["avatar"].get("url"),
        "canonical_alias": contents["canonical_alias"].get("alias"),
        "join_rule": _join_rule(contents["join_rules"]),
        "room_type": contents["create"].get("type"),
    }
    return {
        "room_id": room.room_id,
        "num_joined_members": room.head.joined,
        "world_readable": visibility_of(contents["history_visibility"]) == "world_readable",
        "guest_can_join": contents["guest_access"].get("guest_access") == "can_join",
        **texts_of(fields),
    }


def _join_rule(content: Content) -> str:
    """Return the join rule to show. If there is none, it is the auth rules' default, because clients would
    take a missing one for public.
    """
    rule = content.get("join_rule")
    return rule if isinstance(rule, str) and 0 < len(rule) <= MOST_CHARACTERS["join_rule"] else "invite"


def texts_of(fields: Mapping[str, object]) -> ListedTexts:
    """Return those fields of a room (in `MOST_CHARACTERS`) that are texts to show: neither empty nor too
    long.
    """
    texts = {
        name: _shortened(value, most)
        for name, most in MOST_CHARACTERS.items()
        if isinstance(value := fields.get(name), str) and value and (name in SHORTENED or len(value) <= most)
    }
    return cast("ListedTexts", texts)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def summary(room: Room) -> RoomSummary:
    """Return the summary of a room."""
    contents = _contents(room)
    algorithm = contents["encryption"].get("algorithm")
    allowed = allowed_of(room)
    shown = cast("RoomSummary", {**listing(room), "room_version": room.version.id})
    if isinstance(algorithm, str):
        shown["encryption"] = algorithm
    if allowed:
        shown["allowed_room_ids"] = allowed
    return shown


def _contents(room: Room) -> dict[str, Content]:
    found = erasures.shown_outside(room, SUMMARISED)
    return {
        pair[0].removeprefix("m.room."): found[pair].content if pair in found else {} for pair in SUMMARISED
    }


def _plain_topic(content: Content) -> object:
    """Return the topic as plain text. https://spec.matrix.org/v1.19/client-server-api/#mroomtopic"""
    block = content.get("m.topic")
    texts = block.get("m.text") if isinstance(block, dict) else None
    for text in texts if isinstance(texts, list) else ():
        if isinstance(text, dict) and text.get("mimetype", "text/plain") == "text/plain":
            return text.get("body")
    return content.get("topic")


def allowed_of(room: Room) -> list[RoomId]:
    """Return the rooms whose members may join a restricted room; none for another room."""
    rules = room.event(JOIN_RULES)
    if rules is None or not _has_rule(_RESTRICTED_RULES, rules.content.get("join_rule"), room.version):
        return []
    return allowed_rooms(rules.content.get("allow"))


def may_know(requester: Requester | None, room: Room, membership: str | None) -> bool:
    """Return whether the room is open to the requester, or they are a member, invited or knocking."""
    if membership in ("join", "invite", "knock") or is_open(room):
        return True
    return requester is not None and is_in_any(requester.user_id, allowed_of(room))


def is_open(room: Room) -> bool:
    """Return whether anyone may see the room's summary, because anyone may join it, knock on it or
    read it.
    """
    return is_open_listing({**listing(room), "room_version": room.version.id})


def is_open_listing(listed: Mapping[str, object]) -> bool:
    """Return `is_open` for the listing of a room.

    For other servers' rooms the version may be missing, and also the join rule: then it is public.
    """
    version = ROOM_VERSIONS.get(str(listed.get("room_version")))
    return listed["world_readable"] is True or _has_rule(
        _OPEN_RULES, listed.get("join_rule", "public"), version
    )


def _has_rule(
    rules: Mapping[str, Callable[[RoomVersion], bool]], rule: object, version: RoomVersion | None
) -> bool:
    """Return whether a join rule is one of these and exists in the room version."""
    has = rules.get(rule) if isinstance(rule, str) else None
    return has is not None and (version is None or has(version))


# -- Spaces: https://spec.matrix.org/v1.19/client-server-api/#mspacechild-relationship ----------------------

SPACE = "m.space"
MOST_CHILDREN = 1_000
"""How many children of one space are considered."""


def is_child(content: Content, *, suggested_only: bool) -> bool:
    """Return whether the content of an m.space.child event names a child: it has servers to join through."""
    via = content.get("via")
    is_valid = isinstance(via, list) and bool(via) and all(isinstance(each, str) for each in via)
    return is_valid and (not suggested_only or content.get("suggested") is True)


def in_order(children: Iterable[AnyEvent]) -> list[AnyEvent]:
    """Return the first `MOST_CHILDREN` stripped m.space.child events in the order in which clients show them.

    Those with a valid `order` come first, sorted by it. Events are further sorted by time and room ID.
    """
    return sorted(children, key=_order)[:MOST_CHILDREN]


def _order(child: EventFields) -> tuple[bool, str, int, str]:
    order = child["content"].get("order")
    if not isinstance(order, str) or len(order) > 50 or not all(" " <= each <= "~" for each in order):
        return True, "", child["origin_server_ts"], child["state_key"]
    return False, order, child["origin_server_ts"], child["state_key"]


def summary_with_children(room: Room, *, suggested_only: bool) -> SpaceRoom:
    """Return a room's summary with `children_state`, which is empty if the room isn't a space."""
    shown = summary(room)
    children = _children(room, suggested_only) if shown.get("room_type") == SPACE else []
    return {**shown, "children_state": children}


def _children(room: Room, suggested_only: bool) -> list[StrippedState]:
    entries = room_items.read_state_of_type(room.room_id, room.version, SPACE_CHILD)
    events = [
        entry.event for entry in entries if is_child(entry.event.content, suggested_only=suggested_only)
    ]
    return in_order(_stripped(event) for event in events)


def _stripped(event: Event) -> StrippedState:
    return {
        "type": event.type,
        "state_key": event.state_key or "",
        "content": event.content,
        "sender": event.sender,
        "origin_server_ts": event.origin_server_ts,
    }
