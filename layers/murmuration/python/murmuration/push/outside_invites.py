"""Invites to rooms that this server isn't in, which notify phones too.

Such an invite isn't an event of a room's log, but a row of its user. So the user's stream says which room's
row has changed, and the row says whether there is an invite. In the number on an app's icon it counts as an
event before the room's first one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from murmuration.aws.reads import Batch
from murmuration.clock import now_ms
from murmuration.protocol.event_types import (
    CANONICAL_ALIAS_KEY,
    IGNORED_USERS,
    INVITE_PERMISSION,
    MEMBER,
    NAME_KEY,
    PUSH_RULES,
)
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.protocol.push_rules import ruleset
from murmuration.protocol.push_rules.conditions import PushContext
from murmuration.protocol.push_rules.evaluation import Outcome, compile_ruleset, evaluate
from murmuration.push.ordering import Message, note_tweaks, order, reading
from murmuration.rooms.membership.invitees import blocks_invites
from murmuration.rooms.reading.visibility import ignored_users
from murmuration.storage.live import streams
from murmuration.storage.users import account_data, memberships
from murmuration.storage.users.memberships import Membership
from murmuration.storage.users.pushers import pushers_read
from murmuration.storage.users.unread import unread_read

if TYPE_CHECKING:
    from murmuration.aws.dynamodb import StoredItem
    from murmuration.protocol.encoding.json_types import ClientEvent
    from murmuration.protocol.encoding.shapes import EventFields, JsonDict
    from murmuration.push.json_types import PushOrder

BEFORE_ALL = 0
"""The ordinal that stands for an invite among a room's events."""


def note_outside_invites(items: Sequence[StoredItem]) -> None:
    """Order the pushes for new invites among stream items, and lower counts for those that have ended."""
    changes = {
        (UserId(each.owner), RoomId(str(each.item[streams.ROOM])))
        for each in streams.rows_changed_among(items)
    }
    order([message for user_id, room_id in sorted(changes) for message in _orders(user_id, room_id)])


def _orders(user_id: UserId, room_id: RoomId) -> list[Message]:
    batch = Batch()
    pushers = batch.add(pushers_read(user_id))
    found = batch.add(memberships.membership_read(user_id, room_id))
    unread = batch.add(unread_read(user_id))
    rules, ignored, permission = (
        batch.add(account_data.content_read(user_id, "", name))
        for name in (PUSH_RULES, IGNORED_USERS, INVITE_PERMISSION)
    )
    batch.fetch()
    if not pushers.value.pushers:
        return []
    row: Membership | None = found.value
    if row is None or row.membership != "invite":
        is_counted = room_id in unread.value[0]
        return [(reading(user_id, room_id, {"": BEFORE_ALL}), None)] if is_counted else []
    if not row.is_outside or row.sender in ignored_users(ignored.value):
        return []
    if blocks_invites(permission.value or {}):
        return []
    changes = cast("ruleset.Changes", rules.value or {})
    outcome = evaluate(
        compile_ruleset(ruleset.ruleset_of(user_id, changes)), event_of(row), PushContext(user_id, None, 0, 0)
    )
    return [(_push(user_id, row, outcome), row.sender)] if outcome.notify else []


def event_of(row: Membership) -> ClientEvent:
    """Return the event of an invite, with the fields that are known."""
    own = next((each for each in reversed(row.stripped_state) if _is(each, (MEMBER, row.user_id))), None)
    content = own["content"] if own is not None else {"membership": "invite"}
    return {
        "type": MEMBER,
        "event_id": row.event_id,
        "room_id": row.room_id,
        "sender": row.sender,
        "state_key": row.user_id,
        "content": content,
        "origin_server_ts": row.changed_ms or 0,
    }


def listed_event(row: Membership) -> ClientEvent:
    """Return the event of an invite in the form for the list of notifications, without the room's ID."""
    event = event_of(row)
    del event["room_id"]
    event["unsigned"] = {"age": now_ms() - event["origin_server_ts"], "membership": "invite"}
    return event


def details(row: Membership) -> JsonDict:
    """Return the details of an invite and its room for a gateway."""
    inviter = (MEMBER, row.sender)
    texts = {
        name: _text(row, pair, key)
        for name, pair, key in (
            ("sender_display_name", inviter, "displayname"),
            ("room_name", NAME_KEY, "name"),
            ("room_alias", CANONICAL_ALIAS_KEY, "alias"),
        )
    }
    event = event_of(row)
    return {
        "type": event["type"],
        "sender": event["sender"],
        "content": event["content"],
        **{name: text for name, text in texts.items() if text},
        "user_is_target": True,
    }


def _text(row: Membership, pair: tuple[str, str], name: str) -> str:
    """Return a text from the room's stripped state, which another server sent; empty if there is none."""
    for event in row.stripped_state:
        if _is(event, pair):
            value = event["content"].get(name)
            return value if isinstance(value, str) else ""
    return ""


def _is(event: EventFields, pair: tuple[str, str]) -> bool:
    return (event.get("type"), event.get("state_key")) == pair and isinstance(event.get("content"), dict)


def _push(user_id: UserId, row: Membership, outcome: Outcome) -> PushOrder:
    tweaks, prio = note_tweaks(outcome, MEMBER)
    return {
        "user_id": user_id,
        "note": {"room_id": row.room_id, "invite": row.event_id, "tweaks": tweaks, "prio": prio},
    }
