"""Unread counts: the user's push rules applied to the events after their read receipts, thread by thread.

Events are counted when the user syncs, not when they are sent: for the sender, a message to a room of
thousands costs no more. The counts are in the token, so a sync evaluates only new events. A new receipt of
the user makes the events after it be counted again.

All devices have to show the same counts. So if something changes how earlier events count (push rules,
ignored users, a redaction, the user's name, the room's power levels or size), all unread events are counted
as in a first sync. https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from murmuration.aws import concurrency
from murmuration.protocol.encoding.shapes import Content
from murmuration.protocol.event_types import CREATE_KEY, MEMBER, POWER_LEVELS_KEY, REDACTION
from murmuration.protocol.power_levels import PowerLevels
from murmuration.protocol.push_rules.conditions import PushContext
from murmuration.protocol.push_rules.evaluation import evaluate
from murmuration.rooms.reading.threads import thread_of
from murmuration.rooms.room import Room
from murmuration.storage.live.positions import MAIN, Counts, RoomPosition, total
from murmuration.storage.live.receipts import READ_TYPES, Receipt, read_own, receipts_among
from murmuration.storage.rooms import countable_entries, relations, room_items
from murmuration.storage.rooms.room_items import LogEntry
from murmuration.sync.context import Context
from murmuration.sync.readers import RoomNews
from murmuration.sync.timeline import Window

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import ClientEvent
    from murmuration.protocol.identifiers import RoomId, UserId

MOST_COUNTED = 1000
"""If more events are unread, only this many of the newest are counted."""

Receipts = Mapping[str, int]
"""The ordinal up to which the user has read, by thread: "" for an unthreaded receipt, MAIN, or a root."""


def room_counts(ctx: Context, news: RoomNews, window: Window) -> Counts:
    """Return a room's unread counts after the new events in it."""
    room, position = news.room, news.position
    moved: Receipts = receipts_of(
        receipts_among([*news.items, *ctx.room_data.get(room.room_id, ())], READ_TYPES), ctx.user_id
    )
    since = news.membership.since or 0
    if position is None:
        known = moved if ctx.base is None else _read_receipts(ctx, room)
        return _count_all(ctx, room, window, known, since)
    is_outdated = ctx.outdated.has(ctx.hash(room.room_id))
    if is_outdated or room.head.ordinal - position.ordinal >= MOST_COUNTED:
        return _count_all(ctx, room, window, _read_receipts(ctx, room), since)
    entries = _between(room, window, position.ordinal)
    if _changes_earlier(ctx, room, position, entries):
        return _count_all(ctx, room, window, _read_receipts(ctx, room), since)
    moved = with_own_events(moved, entries, ctx.user_id)
    counts = recount(ctx, room, position.unread, moved, position.ordinal)
    return add(counts, count(ctx, room, entries, moved))


def _count_all(ctx: Context, room: Room, window: Window, receipts: Receipts, since: int) -> Counts:
    """Return the counts of all events that are unread according to the user's receipts.

    `since` is the ordinal from which the user has been a member.
    """
    after = unread_from(room, receipts, since)
    first = window.passed[0].ordinal if window.passed else room.head.ordinal + 1
    entries = [entry for entry in window.passed if entry.ordinal > after][-MOST_COUNTED:]
    if first > after + 1:
        entries = [*_countable(ctx, room, after, first, MOST_COUNTED - len(entries)), *entries]
    return count(ctx, room, entries, with_own_events(receipts, entries, ctx.user_id))


def _between(room: Room, window: Window, after: int) -> list[LogEntry]:
    """Return all entries after an ordinal: those in the window, and those before it."""
    passed = [entry for entry in window.passed if entry.ordinal > after]
    first = window.passed[0].ordinal if window.passed else room.head.ordinal + 1
    if first <= after + 1:
        return passed
    return [*room_items.read_log(room.room_id, room.version, after=after, before=first), *passed]


def _countable(ctx: Context, room: Room, after: int, before: int, most: int) -> list[LogEntry]:
    """Return the newest `most` entries with `after` < ordinal < `before`, in order.

    Membership events of other users are left out if they can't count for this user.
    """
    may_count = ctx.push_rules.may_notify_of_others(MEMBER, ctx.user_id)
    return countable_entries.read(
        room.room_id,
        room.version,
        after=after,
        before=before,
        most=most,
        members_but=None if may_count else ctx.user_id,
    )


def _read_receipts(ctx: Context, room: Room) -> Receipts:
    """Return all read receipts of the user in a room after which something may be unread. Two round trips."""
    unthreaded, threads = concurrency.gather(
        functools.partial(read_own, ctx.user_id, room.room_id, [None, MAIN]),
        functools.partial(relations.read_threads, room.room_id),
    )
    found = receipts_of(unthreaded, ctx.user_id)
    roots = [thread.root_id for thread in threads if thread.latest > found.get("", 0)][:MOST_COUNTED]
    return found | receipts_of(read_own(ctx.user_id, room.room_id, roots), ctx.user_id)


def _changes_earlier(ctx: Context, room: Room, position: RoomPosition, entries: Sequence[LogEntry]) -> bool:
    """Return whether these new events, all since the position, change how earlier ones count."""
    own = (MEMBER, ctx.user_id)
    joined_before = room.head.joined
    for entry in entries:
        event, pair = entry.event, entry.event.state_pair
        if event.type == REDACTION and not entry.withheld and total(position.unread) != (0, 0):
            return True
        if pair is None:
            continue
        if entry.resolved or pair == POWER_LEVELS_KEY or (pair == own and _renames(entry)):
            return True
        if event.type == MEMBER:
            was_joined = _replaced_content(entry).get("membership") == "join"
            joined_before -= (event.membership == "join") - was_joined
    before, now = (PushContext(ctx.user_id, None, size, 0) for size in (joined_before, room.head.joined))
    return joined_before != room.head.joined and any(
        holds({}, before) != holds({}, now) for holds in ctx.member_count_conditions
    )


def _renames(entry: LogEntry) -> bool:
    """Return whether a member event gives its user another display name."""
    return entry.event.content.get("displayname") != _replaced_content(entry).get("displayname")


def _replaced_content(entry: LogEntry) -> Content:
    content: Content = entry.replaced["content"] if entry.replaced is not None else {}
    return content


def count(ctx: Context, room: Room, entries: Iterable[LogEntry], receipts: Receipts) -> Counts:
    """Return the notifications and highlights among those `entries` that are unread according to `receipts`.

    Redacted events don't count. Others' membership events count only if the user's rules may notify of them
    at all. Most rules don't, so these events needn't be read (`_countable`).
    """
    counts: Counts = {}
    read_everywhere = receipts.get("", 0)
    context = _ContextMaker(ctx, room)
    rules, user_id = ctx.push_rules, ctx.user_id
    of_others = rules.may_notify_of_others(MEMBER, user_id)
    for entry in entries:
        event = entry.event
        if entry.ordinal <= read_everywhere or entry.is_past or entry.redacted_because is not None:
            continue
        sender, event_type = event.sender, event.type
        if sender == user_id or sender in ctx.ignored or not rules.may_notify(event_type):
            continue
        if event_type == MEMBER and not of_others and event.state_key != user_id:
            continue
        thread = thread_of(event)
        if entry.ordinal <= receipts.get(thread, 0):
            continue
        outcome = evaluate(rules, _client_form(entry, room.room_id), context(sender))
        if outcome.notify:
            notifications, highlights = counts.get(thread, (0, 0))
            counts[thread] = (notifications + 1, highlights + outcome.highlight)
    return counts


def add(counts: Counts, more: Counts) -> Counts:
    """Return the sum of two counts."""
    threads = counts.keys() | more.keys()
    zero = (0, 0)
    return {
        thread: (
            counts.get(thread, zero)[0] + more.get(thread, zero)[0],
            counts.get(thread, zero)[1] + more.get(thread, zero)[1],
        )
        for thread in threads
    }


def recount(ctx: Context, room: Room, counts: Counts, moved: Receipts, up_to: int) -> Counts:
    """Return `counts` of the log up to `up_to` after the receipts in `moved` changed.

    Receipts only move forward, so no count increases.
    """
    counts = {thread: pair for thread, pair in counts.items() if pair != (0, 0)}
    if not counts or not moved:
        return counts
    entries = _countable(ctx, room, min(moved.values()), up_to + 1, MOST_COUNTED)
    fresh = count(ctx, room, entries, moved)
    concerned = counts.keys() if "" in moved else counts.keys() & moved.keys()
    zero = (0, 0)
    lowered = {
        thread: (min(counts[thread][0], pair[0]), min(counts[thread][1], pair[1]))
        for thread in concerned
        if (pair := fresh.get(thread, zero)) != zero
    }
    return {thread: pair for thread, pair in counts.items() if thread not in concerned} | lowered


def with_own_events(receipts: Receipts, entries: Iterable[LogEntry], user_id: UserId) -> Receipts:
    """Return the receipts moved by the user's own messages: a sender has read the thread up to their message.

    The user's membership events don't move them, because a new display name is sent to all their rooms at
    once.
    """
    moved = dict(receipts)
    for entry in entries:
        if entry.event.sender == user_id and entry.event.type != MEMBER:
            thread = thread_of(entry.event)
            moved[thread] = max(moved.get(thread, 0), entry.ordinal)
    return moved


def unread_from(room: Room, receipts: Receipts, since: int) -> int:
    """Return the ordinal after which events may be unread, for a member `since` an ordinal.

    A thread may have unread events from before the receipt of the main timeline. So if there is such a
    receipt, this reads the room's threads.
    """
    everywhere = max(receipts.get("", 0), since)
    main = max(everywhere, receipts.get(MAIN, 0))
    if main == everywhere:
        return main
    read = {
        thread.latest: max(everywhere, receipts.get(thread.root_id, 0))
        for thread in relations.read_threads(room.room_id)
    }
    return min([main, *(up_to for latest, up_to in read.items() if latest > up_to)])


def _client_form(entry: LogEntry, room_id: RoomId) -> ClientEvent:
    event = entry.event
    form: ClientEvent = {
        "type": event.type,
        "sender": event.sender,
        "content": event.content,
        "room_id": room_id,
        "event_id": event.event_id,
    }
    if event.is_state:
        form["state_key"] = event.state_key
    return form


class _ContextMaker:
    """The facts about the room that push rules need, read once when the first event is evaluated."""

    def __init__(self, ctx: Context, room: Room) -> None:
        self._ctx = ctx
        self._room = room
        self._levels: PowerLevels | None = None
        self._notifications: dict[str, int] = {}
        self._display_name: str | None = None

    def __call__(self, sender: UserId) -> PushContext:
        if self._levels is None:
            create, levels = CREATE_KEY, POWER_LEVELS_KEY
            member = (MEMBER, self._ctx.user_id)
            state = self._room.events([create, levels, member])
            self._levels = PowerLevels.from_state(state.get(create), state.get(levels), self._room.version)
            self._notifications = self._levels.entry_levels("notifications")
            name = state[member].content.get("displayname") if member in state else None
            self._display_name = name if isinstance(name, str) else None
        return PushContext(
            self._ctx.user_id,
            self._display_name,
            self._room.head.joined,
            self._levels.user_level(sender),
            self._notifications,
        )


def receipts_of(receipts: Iterable[Receipt], user_id: UserId) -> dict[str, int]:
    """Return the furthest ordinal among the user's own receipts, by thread."""
    found: dict[str, int] = {}
    for receipt in receipts:
        if receipt.user_id == user_id:
            thread = receipt.thread_id or ""
            found[thread] = max(found.get(thread, 0), receipt.ordinal)
    return found
