"""Decides which new events notify users with pushers, and notes which of these the users have read.

The Streams workers call this after they have woken waiting clients. It orders work in the queue
`gateway-pushes`, which `push.gateways` does. Ordering something twice is harmless.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from murmuration.aws.reads import Answer, Batch
from murmuration.protocol.event_types import (
    CREATE_KEY,
    IGNORED_USERS,
    MEMBER,
    POWER_LEVELS_KEY,
    PUSH_RULES,
)
from murmuration.protocol.events import Event
from murmuration.protocol.power_levels import PowerLevels
from murmuration.protocol.push_rules import ruleset
from murmuration.protocol.push_rules.conditions import PushContext
from murmuration.protocol.push_rules.evaluation import Outcome, compile_ruleset, evaluate
from murmuration.push.ordering import Message, note_tweaks, order, reading
from murmuration.rooms.reading.client_events import bare_event
from murmuration.rooms.reading.threads import thread_of
from murmuration.rooms.reading.visibility import ignored_users
from murmuration.storage.live.new_entries import NewEntry, new_entries
from murmuration.storage.live.receipts import READ_TYPES, receipts_among
from murmuration.storage.rooms import event_store, room_items
from murmuration.storage.rooms.local_members import members_at
from murmuration.storage.rooms.member_index import is_local
from murmuration.storage.rooms.room_items import LogEntry, RoomHead
from murmuration.storage.users import account_data
from murmuration.storage.users.unread import Unread, unread_read

if TYPE_CHECKING:
    from murmuration.aws.dynamodb import StoredItem
    from murmuration.protocol.encoding.shapes import JsonObject
    from murmuration.protocol.identifiers import EventId, RoomId, UserId
    from murmuration.push.json_types import PushOrder
    from murmuration.storage.json_types import EventNote


def order_pushes(items: Sequence[StoredItem], users: Iterable[UserId]) -> None:
    """Order the pushes of new log entries to those of `users`, all of whom have pushers."""
    reachable = frozenset(users)
    if not reachable:
        return
    by_room: dict[RoomId, list[NewEntry]] = {}
    for entry in new_entries(items):
        if not entry.is_past and not entry.is_withheld and entry.encoded is not None:
            by_room.setdefault(entry.room_id, []).append(entry)
    for room_id, some in by_room.items():
        concerned = {user_id: _concerning(user_id, some) for user_id in sorted(reachable)}
        concerned = {user_id: found for user_id, found in concerned.items() if found}
        if concerned:
            order(_orders_in_room(room_id, concerned))


def _concerning(user_id: UserId, entries: Sequence[NewEntry]) -> list[NewEntry]:
    """Return the entries that came while the user was in the room, and those about the user."""
    return [
        entry
        for entry in entries
        if entry.member == user_id or user_id in members_at(entry.room_id, entry.root)
    ]


class _Facts:
    """The facts about a room that the push rules of some users need. One round trip.

    `redacted` are the IDs of events that are redacted now.
    """

    def __init__(self, room_id: RoomId, user_ids: Iterable[UserId], redacted: Iterable[EventId]) -> None:
        batch = Batch()
        self._redacted = {each: batch.add(event_store.ordinal_read(each, room_id)) for each in redacted}
        self._head = batch.add(room_items.head_read(room_id))
        self._state = {
            pair: batch.add(room_items.stored_state_read(room_id, pair))
            for pair in [CREATE_KEY, POWER_LEVELS_KEY, *((MEMBER, user_id) for user_id in user_ids)]
        }
        self._rules: dict[str, Answer[JsonObject | None]] = {}
        self._ignored: dict[str, Answer[JsonObject | None]] = {}
        self._unread: dict[str, Answer[tuple[Unread, int]]] = {}
        for user_id in user_ids:
            self._rules[user_id] = batch.add(account_data.content_read(user_id, "", PUSH_RULES))
            self._ignored[user_id] = batch.add(account_data.content_read(user_id, "", IGNORED_USERS))
            self._unread[user_id] = batch.add(unread_read(user_id))
        batch.fetch()

    @property
    def head(self) -> RoomHead | None:
        return self._head.value

    def state(self, event_type: str, state_key: str) -> Event | None:
        found, head = self._state[event_type, state_key].value, self.head
        return found(head.version).event if found is not None and head is not None else None

    def ordinal_of(self, redacted: EventId) -> int | None:
        return self._redacted[redacted].value

    def is_ignored(self, user_id: UserId, sender: UserId) -> bool:
        return sender in ignored_users(self._ignored[user_id].value)

    def unread_places(self, user_id: UserId, room_id: RoomId) -> list[tuple[int, str]]:
        return self._unread[user_id].value[0].get(room_id, [])

    def changes(self, user_id: UserId) -> ruleset.Changes:
        return cast("ruleset.Changes", self._rules[user_id].value or {})


def _orders_in_room(room_id: RoomId, concerned: Mapping[UserId, Sequence[NewEntry]]) -> Iterator[Message]:
    new_ones = {new.ordinal: new for entries in concerned.values() for new in entries}
    redacted = {new.redacts for new in new_ones.values() if new.redacts is not None}
    facts = _Facts(room_id, concerned, redacted)
    head = facts.head
    if head is None:
        return
    levels = PowerLevels.from_state(facts.state(*CREATE_KEY), facts.state(*POWER_LEVELS_KEY), head.version)
    for user_id, entries in concerned.items():
        member = facts.state(MEMBER, user_id)
        name = member.content.get("displayname") if member is not None else None
        rules = compile_ruleset(ruleset.ruleset_of(user_id, facts.changes(user_id)))
        for new in entries:
            entry = new.as_log_entry(head.version)
            sender = entry.event.sender
            if _ends_unread(entry, user_id):
                yield from _readings(user_id, entry, facts.unread_places(user_id, room_id))
            place = facts.ordinal_of(new.redacts) if new.redacts is not None else None
            if any(place == ordinal for ordinal, _ in facts.unread_places(user_id, room_id)):
                yield reading(user_id, room_id, {}, gone=place), None
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


def _ends_unread(entry: LogEntry, user_id: UserId) -> bool:
    """Return whether an event shows that its user has read everything before it.

    They sent it, accepted an invite, or left the room.
    """
    event = entry.event
    if event.type != MEMBER:
        return event.sender == user_id
    before = entry.replaced["content"].get("membership") if entry.replaced is not None else None
    return event.state_key == user_id and event.membership != before and event.membership != "invite"


def _readings(user_id: UserId, entry: LogEntry, places: Sequence[tuple[int, str]]) -> Iterator[Message]:
    thread = "" if entry.event.type == MEMBER else thread_of(entry.event)
    if any(ordinal <= entry.ordinal and thread in ("", of) for ordinal, of in places):
        yield reading(user_id, entry.room_id, {thread: entry.ordinal}), None


def _push(user_id: UserId, entry: LogEntry, outcome: Outcome) -> PushOrder:
    """Return the message that makes a worker notify a user's phones of an event."""
    tweaks, prio = note_tweaks(outcome, entry.event.type)
    note: EventNote = {
        "room_id": entry.room_id,
        "ordinal": entry.ordinal,
        "thread": thread_of(entry.event),
        "tweaks": tweaks,
        "prio": prio,
    }
    return {"user_id": user_id, "note": note}


def note_receipts(items: Sequence[StoredItem]) -> None:
    """Order lower unread counts for users who have read something, given new stream items with receipts."""
    receipts = [each for each in receipts_among(items, READ_TYPES) if is_local(each.user_id)]
    batch = Batch()
    unread = {user_id: batch.add(unread_read(user_id)) for user_id in {each.user_id for each in receipts}}
    batch.fetch()
    messages: list[Message] = []
    for receipt in receipts:
        thread, up_to = receipt.thread_id or "", receipt.ordinal
        places = unread[receipt.user_id].value[0].get(receipt.room_id, [])
        if any(ordinal <= up_to and thread in ("", of) for ordinal, of in places):
            messages.append((reading(receipt.user_id, receipt.room_id, {thread: up_to}), None))
    order(messages)
