"""Which new events the users with pushers are notified of, and what of that they have read.

The Streams workers call this after they have woken those who wait. It orders work in the queue
`gateway-pushes`; `push.gateways` does it. Ordering something twice is harmless.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from murmuration.aws import queues
from murmuration.aws.reads import Answer, Batch
from murmuration.identity.budgets import PUSH, charge
from murmuration.protocol.events import Event
from murmuration.protocol.power_levels import PowerLevels
from murmuration.protocol.push_rules import ruleset
from murmuration.protocol.push_rules.conditions import PushContext
from murmuration.protocol.push_rules.evaluation import Outcome, compile_ruleset, evaluate
from murmuration.rooms.reading.client_events import bare_event
from murmuration.rooms.reading.threads import thread_of
from murmuration.rooms.reading.visibility import ignored_users
from murmuration.storage.rooms import room_items
from murmuration.storage.rooms.local_members import members_at
from murmuration.storage.rooms.member_index import is_local
from murmuration.storage.rooms.room_items import LogEntry, RoomHead
from murmuration.storage.users import account_data
from murmuration.storage.users.unread import Unread, unread_read

QUEUE = "gateway-pushes"
Message = tuple[dict[str, Any], str | None]
"""A message of that queue, and the user who is to be charged for it."""
MOST_TWEAK_BYTES = 4096
CREATE, LEVELS, MEMBER = ("m.room.create", ""), ("m.room.power_levels", ""), "m.room.member"
READ_TYPES = ("m.read", "m.read.private")
URGENT = ("m.room.encrypted", "m.call.invite", "m.rtc.notification")
"""Types of events that a phone is told of at once, though their rule makes no sound."""


def order_pushes(items: Sequence[Mapping[str, Any]], users: Iterable[str]) -> None:
    """Order the pushes for new entries of rooms' logs, to those of `users`, who have pushers."""
    reachable = frozenset(users)
    if not reachable:
        return
    by_room: dict[str, list[Mapping[str, Any]]] = {}
    for item in items:
        if "filled_below" not in item and not item.get("withheld") and "json" in item:
            by_room.setdefault(item["room_id"], []).append(item)
    for room_id, some in by_room.items():
        concerned = {user_id: _concerning(user_id, some) for user_id in sorted(reachable)}
        concerned = {user_id: found for user_id, found in concerned.items() if found}
        if concerned:
            _order(_orders_in_room(room_id, concerned))


def _concerning(user_id: str, items: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The entries that came while the user was in the room, and those about the user."""
    return [
        item
        for item in items
        if item.get("member") == user_id or user_id in members_at(item["room_id"], _root(item))
    ]


def _root(item: Mapping[str, Any]) -> bytes | None:
    return None if item.get("resolved") else item.get("room_root") or item["state_root"]


class _Facts:
    """What the rules of some users need to know of a room; one round trip."""

    def __init__(self, room_id: str, user_ids: Iterable[str]) -> None:
        batch = Batch()
        self._head = batch.add(room_items.head_read(room_id))
        self._state = {
            pair: batch.add(room_items.stored_state_read(room_id, pair))
            for pair in [CREATE, LEVELS, *((MEMBER, user_id) for user_id in user_ids)]
        }
        self._rules: dict[str, Answer[dict[str, Any] | None]] = {}
        self._ignored: dict[str, Answer[dict[str, Any] | None]] = {}
        self._unread: dict[str, Answer[tuple[Unread, int]]] = {}
        for user_id in user_ids:
            self._rules[user_id] = batch.add(account_data.content_read(user_id, "", account_data.PUSH_RULES))
            self._ignored[user_id] = batch.add(account_data.content_read(user_id, "", "m.ignored_user_list"))
            self._unread[user_id] = batch.add(unread_read(user_id))
        batch.fetch()

    @property
    def head(self) -> RoomHead | None:
        return self._head.value

    def state(self, event_type: str, state_key: str) -> Event | None:
        found, head = self._state[event_type, state_key].value, self.head
        return found(head.version).event if found is not None and head is not None else None

    def is_ignored(self, user_id: str, sender: str) -> bool:
        return sender in ignored_users(self._ignored[user_id].value)

    def unread_places(self, user_id: str, room_id: str) -> list[tuple[int, str]]:
        return self._unread[user_id].value[0].get(room_id, [])

    def changes(self, user_id: str) -> dict[str, Any]:
        return self._rules[user_id].value or {}


def _order(messages: Iterable[Message]) -> None:
    """Have phones told, and those charged for it who are the cause."""
    found = list(messages)
    queues.send_each(QUEUE, [message for message, _ in found])
    for _, cause in found:
        if cause is not None and is_local(cause):
            charge(cause, PUSH)


def _orders_in_room(room_id: str, concerned: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[Message]:
    facts = _Facts(room_id, concerned)
    head = facts.head
    if head is None:
        return
    levels = PowerLevels.from_state(facts.state(*CREATE), facts.state(*LEVELS), head.version)
    for user_id, items in concerned.items():
        member = facts.state(MEMBER, user_id)
        name = member.content.get("displayname") if member is not None else None
        rules = compile_ruleset(ruleset.ruleset_of(user_id, facts.changes(user_id)))
        for item in items:
            entry = room_items.log_entry_from_item(item, head.version)
            sender = entry.event.sender
            if _ends_unread(entry, user_id):
                yield from _readings(user_id, entry, facts.unread_places(user_id, room_id))
            if entry.redacted_because is not None or facts.is_ignored(user_id, sender):
                continue
            context = PushContext(
                user_id,
                name if isinstance(name, str) else None,
                head.joined,
                levels.user_level(sender),
                levels.entry_levels("notifications"),
            )
            outcome = evaluate(rules, bare_event(entry.event), context)
            if outcome.notify:
                yield _push(user_id, entry, outcome), entry.event.sender


def _ends_unread(entry: LogEntry, user_id: str) -> bool:
    """Whether the user has read what came before: they sent something, or aren't in the room any more."""
    event = entry.event
    if event.type == MEMBER:
        return event.state_key == user_id and event.membership in ("leave", "ban")
    return event.sender == user_id


def _readings(user_id: str, entry: LogEntry, places: Sequence[tuple[int, str]]) -> Iterator[Message]:
    thread = "" if entry.event.type == MEMBER else thread_of(entry.event)
    if any(ordinal <= entry.ordinal and thread in ("", of) for ordinal, of in places):
        yield _reading(user_id, entry.room_id, {thread: entry.ordinal}), None


def _reading(user_id: str, room_id: str, read_up_to: Mapping[str, int]) -> dict[str, Any]:
    """The message that has a user's number of unread events go down: read up to which ordinal, by thread."""
    return {"user_id": user_id, "read": {"room_id": room_id, "up_to": dict(read_up_to)}}


def _push(user_id: str, entry: LogEntry, outcome: Outcome) -> dict[str, Any]:
    """The message that has a user's phones told of an event."""
    event, tweaks = entry.event, outcome.tweaks
    if len(json.dumps(tweaks)) > MOST_TWEAK_BYTES:
        tweaks = {"highlight": True} if outcome.highlight else {}
    urgent = outcome.highlight or outcome.sound is not None or event.type in URGENT
    note = {
        "room_id": entry.room_id,
        "ordinal": entry.ordinal,
        "thread": thread_of(event),
        "tweaks": tweaks,
        "prio": "high" if urgent else "low",
    }
    return {"user_id": user_id, "note": note}


def note_receipts(items: Sequence[Mapping[str, Any]]) -> None:
    """Have the numbers go down of users who have read something, by receipts among items of streams."""
    receipts = [
        item for item in items if item.get("receipt_type") in READ_TYPES and is_local(item["user_id"])
    ]
    batch = Batch()
    unread = {user_id: batch.add(unread_read(user_id)) for user_id in {item["user_id"] for item in receipts}}
    batch.fetch()
    messages: list[Message] = []
    for item in receipts:
        thread, up_to = str(item.get("thread_id") or ""), int(item["ordinal"])
        places = unread[item["user_id"]].value[0].get(item["room_id"], [])
        if any(ordinal <= up_to and thread in ("", of) for ordinal, of in places):
            messages.append((_reading(item["user_id"], item["room_id"], {thread: up_to}), None))
    _order(messages)
