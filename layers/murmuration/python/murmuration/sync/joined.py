"""A joined room's part of a sync. https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from murmuration.aws import concurrency
from murmuration.aws.dynamodb import Item
from murmuration.aws.reads import fetch
from murmuration.protocol.event_types import (
    CANONICAL_ALIAS,
    CANONICAL_ALIAS_KEY,
    CREATE_KEY,
    ENCRYPTION_KEY,
    MEMBER,
    NAME,
    NAME_KEY,
    POWER_LEVELS_KEY,
)
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.protocol.sizes import Budget, fit_events
from murmuration.rooms import current_state
from murmuration.rooms.ephemeral import receipts, typing
from murmuration.rooms.reading import aggregations, client_events, pagination, past_state, visibility
from murmuration.rooms.reading.visibility import Viewer
from murmuration.rooms.room import Room, prefetch
from murmuration.storage.live import streams
from murmuration.storage.live.positions import (
    MAIN,
    Counts,
    Positions,
    RoomPosition,
    as_counts,
    mark,
    total,
    unbroken,
)
from murmuration.storage.live.typing_users import typing_among, typing_read
from murmuration.storage.rooms import member_index
from murmuration.storage.rooms.room_items import StateEntry
from murmuration.storage.users import account_data, presence
from murmuration.storage.users.memberships import Membership
from murmuration.sync import timeline
from murmuration.sync.context import Context, DeviceLists
from murmuration.sync.device_lists import device_lists_of
from murmuration.sync.readers import RoomNews
from murmuration.sync.timeline import Window
from murmuration.sync.unread import counting as unread

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import ClientEvent, EventsSection
    from murmuration.sync.readers.json_types import (
        RoomSection,
        RoomSummarySection,
        TimelineSection,
        UnreadSection,
    )

MEMBERS_REMEMBERED = 64
MUCH_STATE = 10
"""A room's state is put into the answer as JSON text if it has at least this many events."""
HEROES = 5
TIMELINE_BYTES = 1_000_000
"""The maximum size of one room's timeline in an answer. The newest event is included in any case."""
BYTES_BESIDES = 4000
"""By how much the client's form of an event may exceed its stored form: its ID, and `unsigned`."""
STREAM_BYTES = 500_000
"""How much of a room's stream (mostly receipts) one answer may contain. The next answer continues."""


@dataclass
class RoomPart:
    """The part of a sync about one room: its section (None: nothing), and the client's position
    afterwards.
    """

    position: RoomPosition
    section: RoomSection | None = None
    device_lists: DeviceLists = field(default_factory=DeviceLists)
    typing_until_ms: int = 0
    presence: dict[UserId, str] = field(default_factory=dict)


def moved(ctx: Context, room: Room) -> bool:
    """Return whether there may be something to show now.

    State that is being settled is left for the next look.
    """
    position = ctx.position(room.room_id)
    return room.head.unsettled is None and (
        position is None
        or ctx.full_state
        or room.head.ordinal > position.ordinal
        or room.head.seq > position.seq
        or room.room_id in ctx.room_data
        or ctx.outdated.has(ctx.hash(room.room_id))
        or (
            ctx.base is not None and 0 < ctx.base.typing_until_ms.get(ctx.hash(room.room_id), 0) <= ctx.now_ms
        )
    )


def is_shown(positions: Positions, name: str, room: Room) -> bool:
    """Return whether a client has been shown all of a joined room, its log and its stream."""
    position = positions.rooms.get(name)
    return position is not None and position.ordinal >= room.head.ordinal and position.seq >= room.head.seq


def known_position(ctx: Context, room: Room, membership: Membership) -> RoomPosition | None:
    """Return the client's position in the room; None if the user has left and come back since."""
    return unbroken(ctx.position(room.room_id), membership.since)


def with_own_data(ctx: Context, rooms: Iterable[tuple[Room, Membership]]) -> Context:
    """Return the context with all of the user's data about rooms that are new to a client.

    Such data may be older than the client's token: a tag that was set on an invite, or the read marker of a
    room that the user left and came back to. Reads only if a room is new to a client that has synced before.
    """
    if ctx.base is None:
        return ctx
    new = [room.room_id for room, membership in rooms if known_position(ctx, room, membership) is None]
    if not new:
        return ctx
    return replace(ctx, room_data={**ctx.room_data, **account_data.read_about_rooms(ctx.user_id, new)})


def joined_room(ctx: Context, room: Room, membership: Membership) -> RoomPart | None:
    """Return the section of a room that has changed, and the client's position afterwards.

    It reads the log and the stream at once, then what those need. Returns None if the user's membership has
    changed since it was read: they may not see what happened since, so the room is left for the next look,
    which that change triggers.
    """
    position = known_position(ctx, room, membership)
    found = read_news(
        ctx,
        room,
        membership,
        functools.partial(ctx.reader.window, ctx),
        functools.partial(stream_items, room, position.seq if position else 0),
        ctx.reader.deciding,
    )
    if found is None:
        return None
    news, seq = found
    ephemeral, typing_until_ms = ephemeral_events(ctx, room.room_id, news.items, position)
    part = RoomPart(RoomPosition(room.head.ordinal, seq), typing_until_ms=typing_until_ms)
    part.presence = presence.marked(news.items)
    ctx.reader.tell(ctx, news, ephemeral, part)
    return part


def read_news(
    ctx: Context,
    room: Room,
    membership: Membership,
    read_window: Callable[[Room, Viewer, RoomPosition | None], Window],
    read_items: Callable[[], tuple[Sequence[Item], int]],
    deciding: Sequence[StateKey],
) -> tuple[RoomNews, int] | None:
    """Read a room's log, its stream and some state at once. Returns these, and the new position in the
    stream.

    Returns None if the membership has changed since it was read, or if the head is from before the user
    joined.
    """
    position = known_position(ctx, room, membership)
    viewer = ctx.viewer(membership, room)
    own = own_pair(ctx)
    window, (items, seq), entries = concurrency.gather(
        functools.partial(read_window, room, viewer, position),
        read_items,
        functools.partial(room.entries, [*deciding, own]),
        at_once=position is None or room.head.seq > position.seq or not room.knows([*deciding, own]),
    )
    if own not in entries or entries[own].event.event_id != membership.event_id:
        return None
    if room.head.ordinal < (membership.ordinal or 0):
        return None  # the late read of the head is from before the user joined
    return RoomNews(room, membership, viewer, position, window, items, entries), seq


def tell(ctx: Context, news: RoomNews, ephemeral: list[ClientEvent], part: RoomPart) -> None:
    """Put the room's section for /sync, if there is one, and the device lists and the position into
    `part`.
    """
    room, head, position, items = news.room, news.room.head, news.position, news.items
    window = news.window
    window, resolved = (window, {}) if ctx.state_after else timeline.tell_resolutions(room, window)
    window, shown = fitting_timeline(ctx, news.viewer, window)
    state, remembered = _state(ctx, room, window, position)
    state |= resolved
    summary, heroes = _summary(ctx, news, window, state)
    if ctx.filter.room.state.lazy_load_members:
        state |= _unknown_heroes(ctx, window, position, heroes)
        remembered = remember(remembered, [UserId(pair[1]) for pair in heroes])
    counts = unread.room_counts(ctx, news, window)
    part.position = RoomPosition(head.ordinal, part.position.seq, counts, remembered)
    part.device_lists = device_lists_of(ctx, room, position, window, items)
    events = {
        "timeline": _timeline(ctx, news, window, shown),
        ctx.state_after or "state": state_section(ctx, news.viewer, state),
        "ephemeral": {"events": ephemeral},
        "account_data": {"events": room_account_data(ctx, room.room_id)},
    }
    changed = any(section.get("events") for section in events.values()) or window.limited or bool(summary)
    unread_changed = position is not None and position.unread != counts
    if changed or unread_changed or position is None or ctx.full_state:
        part.section = {**events, "summary": summary, **_unread_section(ctx, counts)}


DECIDING = [CREATE_KEY, POWER_LEVELS_KEY, ENCRYPTION_KEY]
"""The state that push rules and device lists depend on."""
AHEAD = [*DECIDING, NAME_KEY, CANONICAL_ALIAS_KEY]
"""The state that a room's section needs in addition to its log."""


def own_pair(ctx: Context) -> StateKey:
    return MEMBER, ctx.user_id


def read_ahead(ctx: Context, rooms: Sequence[Room]) -> None:
    """Read for many rooms at once the items that each one's section would otherwise read separately."""
    prefetch(rooms, [*ctx.reader.ahead, own_pair(ctx)])


def window(ctx: Context, room: Room, viewer: Viewer, position: RoomPosition | None) -> Window:
    """Read the newest entries of the log that the client hasn't seen and its filter admits."""
    after = position.ordinal if position is not None else None
    visible = functools.partial(visibility.seen_by, viewer)
    return timeline.read_window(room, after, room.head.ordinal + 1, ctx.filter.room.timeline, visible)


def stream_items(room: Room, after: int) -> tuple[list[Item], int]:
    """Return new items of the room's stream, as many as fit into one answer, and the position after them."""
    if room.head.seq <= after:
        return [], room.head.seq
    return streams.read_some_after(streams.room_stream(room.room_id), after, room.head.seq, STREAM_BYTES)


# -- Timeline --------------------------------------------------------------------------------------------


def _timeline(ctx: Context, news: RoomNews, window: Window, events: Sequence[ClientEvent]) -> TimelineSection:
    fresh = news.position is None
    shown = news.room.head.ordinal if fresh and not window.limited else None
    return {
        "events": list(events),
        "limited": window.limited or (fresh and ctx.base is not None),
        "prev_batch": pagination.position_token(window.before_first, shown=shown),
    }


def fitting_timeline(ctx: Context, viewer: Viewer, window: Window) -> tuple[Window, list[ClientEvent]]:
    """Return the window cut to `TIMELINE_BYTES`, and its events in the client's format.

    The newest events are kept. Bundled aggregations that don't fit are left out. Short events fit in any
    case, so they aren't encoded to find out.
    """
    events = client_timeline(ctx, viewer, window)
    if all(entry.stored_length and not entry.groups for entry in window.entries):
        longest = sum(BYTES_BESIDES + 4 * entry.stored_length for entry in window.entries)
        if longest <= TIMELINE_BYTES:
            return window, events
    count = fit_events(events[::-1], Budget(TIMELINE_BYTES))
    return timeline.newest_of(window, count), events[len(events) - count :]


def client_timeline(ctx: Context, viewer: Viewer, window: Window) -> list[ClientEvent]:
    """Return the window's events in the client's format, with the fields that its filter wants."""
    events = client_events.client_events(
        window.seen,
        viewer,
        aggregations=aggregations.bundle(window.entries, viewer, with_room_id=False),
        with_room_id=False,
        event_format=ctx.filter.event_format,
    )
    return [ctx.filter.project(event) for event in events]


# -- State -----------------------------------------------------------------------------------------------


def _state(
    ctx: Context, room: Room, window: Window, position: RoomPosition | None
) -> tuple[dict[StateKey, Event], tuple[str, ...]]:
    """Return the state to send, and the marks of the members whose events the client then has."""
    at_end = ctx.state_after
    root, before = (room.head.state_root, room.head.ordinal + 1) if at_end else (window.root, window.start)
    lazy = ctx.filter.room.state.lazy_load_members
    senders = {entry.event.sender for entry in window.entries} if lazy else set()
    if position is None or ctx.full_state:
        members = senders | {ctx.user_id} if lazy else None
        state = past_state.full_state(room, root, before, members=members)
        if not at_end:
            state |= timeline.unshown_state(window, members)
        return state, remember((), members or ())
    state = {}
    if window.limited or at_end:
        state = timeline.state_delta(room, position.ordinal, root)
    if not at_end:
        state |= timeline.unshown_state(window)
    if not lazy:
        return state, ()
    known = set(position.members)
    redundant = ctx.filter.room.state.include_redundant_members
    missing = {sender for sender in senders if redundant or mark(sender) not in known}
    current = room.entries([(MEMBER, sender) for sender in missing])
    state = past_state.state_at(room, root, before, current.values()) | state
    return state, remember(position.members, senders)


def remember(marks: Sequence[str], user_ids: Iterable[UserId]) -> tuple[str, ...]:
    fresh = {mark(user_id) for user_id in user_ids} - set(marks)
    return (*marks, *sorted(fresh))[-MEMBERS_REMEMBERED:]


def shown_state(ctx: Context, viewer: Viewer, state: Mapping[StateKey, Event]) -> list[ClientEvent]:
    """Return the state events that the filter admits, in the client's format."""
    return [
        ctx.filter.project(client_events.state_event(event, viewer, with_room_id=False))
        for event in _wanted(ctx, state)
    ]


def _wanted(ctx: Context, state: Mapping[StateKey, Event]) -> Iterable[Event]:
    wanted = ctx.filter.room.state
    if wanted.admits_everything:
        return state.values()
    return [event for event in state.values() if wanted.matches(event.pdu, event.room_id)]


def state_section(ctx: Context, viewer: Viewer, state: Mapping[StateKey, Event]) -> EventsSection:
    """Return the section of the state events that the filter admits. A long list may be JSON text."""
    if not ctx.takes_text or len(state) < MUCH_STATE or ctx.filter.event_fields is not None:
        return {"events": shown_state(ctx, viewer, state)}
    events = list(_wanted(ctx, state))
    return {"events": client_events.state_texts(events, viewer, with_room_id=False) if events else []}


def _summary(
    ctx: Context, news: RoomNews, window: Window, state: Mapping[StateKey, Event]
) -> tuple[RoomSummarySection, dict[StateKey, Event]]:
    """Return the counts of members and the heroes, with the heroes' member events.

    Both are empty if nothing of this changed.
    """
    room, position = news.room, news.position
    recent = [entry.event for entry in window.passed] + list(state.values())
    if position is not None and not ctx.full_state and not any(event.type in _SUMMARISED for event in recent):
        return {}, {}
    summary: RoomSummarySection = {
        "m.joined_member_count": room.head.joined,
        "m.invited_member_count": room.head.invited,
    }
    found = room.events([NAME_KEY, CANONICAL_ALIAS_KEY])
    named = {pair: news.viewer.event_copy(event) for pair, event in found.items()}
    if (NAME_KEY in named and named[NAME_KEY].content.get("name")) or (
        CANONICAL_ALIAS_KEY in named and named[CANONICAL_ALIAS_KEY].content.get("alias")
    ):
        return summary, {}
    heroes = heroes_of(ctx, room)
    summary["m.heroes"] = [user_id for _, user_id in heroes]
    return summary, heroes


_SUMMARISED = frozenset({MEMBER, NAME, CANONICAL_ALIAS})
_FEW = 20


def heroes_of(ctx: Context, room: Room) -> dict[StateKey, Event]:
    """Return up to five other users who are joined or invited, or else have left: those who came first.

    In a room with many members it considers only a few of them; if those have left, a few other current
    members.
    """
    members = current_state.read_some_members(room, _FEW)
    if len(members) == _FEW and sum(_is_present(entry) for entry in members) <= HEROES:
        present = member_index.read_present(room.head, memberships=("join", "invite"), limit=_FEW)
        members += room.entries([(MEMBER, user_id) for user_id in present]).values()
    others = [entry for entry in members if entry.event.state_key != ctx.user_id]
    chosen = [entry for entry in others if _is_present(entry)] or others
    chosen = list({entry.event.state_key: entry for entry in chosen}.values())
    chosen.sort(key=lambda entry: entry.ordinal or 0)
    return {(MEMBER, entry.event.member_id): entry.event for entry in chosen[:HEROES]}


def _is_present(entry: StateEntry) -> bool:
    return entry.event.membership in ("join", "invite")


def _unknown_heroes(
    ctx: Context, window: Window, position: RoomPosition | None, heroes: Mapping[StateKey, Event]
) -> dict[StateKey, Event]:
    """Return the heroes' member events that the client lacks and that aren't in the timeline."""
    again = ctx.full_state or ctx.filter.room.state.include_redundant_members
    known = () if position is None or again else position.members
    shown = {entry.event.event_id for entry in window.entries}
    return {
        pair: event
        for pair, event in heroes.items()
        if event.event_id not in shown and mark(pair[1]) not in known
    }


# -- Unread counts ---------------------------------------------------------------------------------------


def _unread_section(ctx: Context, counts: Counts) -> UnreadSection:
    if not ctx.filter.room.timeline.unread_thread_notifications:
        return {"unread_notifications": as_counts(total(counts))}
    section: UnreadSection = {"unread_notifications": as_counts(counts.get(MAIN, (0, 0)))}
    threads = {thread: as_counts(pair) for thread, pair in counts.items() if thread != MAIN}
    if threads:
        section["unread_thread_notifications"] = threads
    return section


# -- Ephemeral events and account data -------------------------------------------------------------------


def ephemeral_events(
    ctx: Context, room_id: RoomId, items: Sequence[Item], position: RoomPosition | None
) -> tuple[list[ClientEvent], int]:
    """Return the ephemeral events, and when the typing in them ends (0: nobody types)."""
    events = []
    given = [*items, *ctx.room_data.get(room_id, ())]
    read = receipts.receipt_event(given, ctx.user_id, ignored=ctx.ignored)
    if read is not None:
        events.append(read)
    shown, until = typing.typing_event(typing_among(items), ctx.now_ms, ignored=ctx.ignored)
    if shown is None and ctx.base is not None:
        until = ctx.base.typing_until_ms.get(ctx.hash(room_id), 0)
        if 0 < until <= ctx.now_ms:
            stored = fetch(typing_read(room_id))
            shown, until = typing.typing_event(stored, ctx.now_ms, ignored=ctx.ignored)
    if shown is not None and (position is not None or shown["content"]["user_ids"]):
        events.append(shown)
    return [event for event in events if ctx.filter.room.ephemeral.matches(event, room_id)], until


def room_account_data(ctx: Context, room_id: RoomId) -> list[ClientEvent]:
    """Return the user's changed data about a room, as events."""
    events: list[ClientEvent] = [
        {"type": data_type, "content": content}
        for data_type, content in account_data.contents_among(ctx.room_data.get(room_id, ())).items()
    ]
    return [event for event in events if ctx.filter.room.account_data.matches(event, room_id)]
