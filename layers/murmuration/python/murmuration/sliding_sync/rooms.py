"""A joined room in a sliding sync: its section, and the client's state of the room afterwards."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from murmuration.aws import concurrency
from murmuration.aws.dynamodb import Item
from murmuration.protocol.event_types import AVATAR_KEY, MEMBER, NAME_KEY
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.filters import EventFilter
from murmuration.protocol.identifiers import UserId
from murmuration.protocol.sliding import required_state
from murmuration.protocol.sliding.required_state import Required
from murmuration.rooms.reading import pagination, visibility
from murmuration.rooms.reading.visibility import Viewer
from murmuration.rooms.room import Room, prefetch
from murmuration.sliding_sync import room_state
from murmuration.sliding_sync.lists import Wish, activity_ms
from murmuration.sliding_sync.room_state import Change
from murmuration.storage.live import streams
from murmuration.storage.live.positions import RoomPosition, total
from murmuration.storage.live.sliding_positions import ConnectionState, Shown
from murmuration.storage.rooms.room_heads import BUMPS
from murmuration.storage.rooms.room_items import LogEntry, StateEntry
from murmuration.storage.users.memberships import Membership
from murmuration.sync import joined, timeline
from murmuration.sync.context import Context
from murmuration.sync.readers import RoomNews
from murmuration.sync.timeline import Window
from murmuration.sync.unread import counting as unread

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import ClientEvent
    from murmuration.protocol.encoding.shapes import EventFields, JsonDict
    from murmuration.sliding_sync.json_types import Hero, RoomSection

DECIDING = (*joined.DECIDING, NAME_KEY, AVATAR_KEY)
"""State that is read for each room, because push rules and the section depend on it."""
NEWEST = 50
"""How many of the newest items of a room's stream are read for a client that doesn't know the room."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The request for one room: from lists and subscriptions, and from extensions.

    `known` is the required state that the client has so far. `is_direct` says that the user's account data
    lists the room as a direct chat. `told_ms` is when the connection's last answer was made, None for its
    first. `current` is the room's state without members, if it was read.
    """

    wish: Wish
    shown: Shown | None
    known: Required
    is_direct: bool
    with_receipts: bool
    with_typing: bool
    with_data: bool
    is_merged: bool
    told_ms: int | None = None
    current: Sequence[StateEntry] | None = None


@dataclass(slots=True)
class RoomPart:
    """The result for one room: its section (None: nothing), its events for extensions, the new position.

    `config` is the required state that the client has afterwards; `shown` refers to it by a number.
    """

    position: RoomPosition
    shown: Shown
    config: Required
    section: RoomSection | None = None
    receipts: ClientEvent | None = None
    typing: ClientEvent | None = None
    account_data: list[ClientEvent] | None = None
    typing_until_ms: int = 0


def needs_look(ctx: Context, room: Room, row: Membership, asked: Asked, state: ConnectionState) -> bool:
    """Return whether a visible joined room may have something to show."""
    name, shown = ctx.hash(room.room_id), asked.shown
    position = joined.known_position(ctx, room, row)
    if position is None or shown is None:
        return True
    until = state.positions.typing_until_ms.get(name, 0)
    return (
        room.head.ordinal > position.ordinal
        or room.head.seq > position.seq
        or room.room_id in ctx.room_data
        or ctx.outdated.has(name)
        or shown.is_behind
        or shown.is_dm != asked.is_direct
        or 0 < until <= ctx.now_ms
        or is_expanded(asked)
        or not required_state.covers(asked.known, asked.wish.required)
    )


def is_expanded(asked: Asked) -> bool:
    """Return whether the request asks for more of the timeline than the client has."""
    shown = asked.shown
    return shown is not None and not shown.is_whole and asked.wish.timeline_limit > shown.limit


def joined_room(ctx: Context, room: Room, row: Membership, asked: Asked) -> RoomPart | None:
    """Return the part of a joined room; None to leave it for the next look."""
    position = joined.known_position(ctx, room, row)
    if position is None and asked.shown is not None:
        asked = replace(asked, shown=None, known=())
    found = joined.read_news(
        ctx,
        room,
        row,
        functools.partial(_window, asked),
        functools.partial(_stream_items, room, position),
        DECIDING,
    )
    if found is None:
        return None
    news, seq = found
    window, events = joined.fitting_timeline(ctx, news.viewer, news.window)
    news = replace(news, window=window)
    counts = unread.room_counts(_counting(ctx, news, asked), news, window)
    section, members = _section(ctx, news, asked, events)
    if not asked.is_merged and (position is None or counts != position.unread):
        section["notification_count"], section["highlight_count"] = total(counts)
    part = RoomPart(
        RoomPosition(room.head.ordinal, seq, counts, members),
        *_shown(room, asked, position, window),
        section={**_common(row, room, asked, window, is_initial=position is None), **section}
        if section
        else None,
    )
    _add_extensions(ctx, news, asked, part)
    return part


def read_ahead(ctx: Context, asked: Sequence[tuple[Room, Asked]]) -> list[Asked]:
    """Read together the items that the section of each new room would otherwise read separately.

    If a request wants much of a room, its whole state without members is read: that costs less than many
    single items.
    """
    few = [room for room, each in asked if room_state.wants_few(each.wish.required)]
    many = [(room, each) for room, each in asked if not room_state.wants_few(each.wish.required)]
    read, *_ = concurrency.gather(
        lambda: concurrency.parallel(
            *(functools.partial(room_state.read_current, room, DECIDING) for room, _ in many)
        ),
        functools.partial(prefetch, few, DECIDING),
        functools.partial(prefetch, [room for room, _ in asked], [joined.own_pair(ctx)]),
    )
    current = {room.room_id: entries for (room, _), entries in zip(many, read, strict=True)}
    return [replace(each, current=current.get(room.room_id)) for room, each in asked]


def _window(asked: Asked, room: Room, viewer: Viewer, position: RoomPosition | None) -> Window:
    after = None if position is None or is_expanded(asked) else position.ordinal
    wanted = EventFilter(limit=asked.wish.timeline_limit)
    visible = functools.partial(visibility.seen_by, viewer)
    return timeline.read_window(room, after, room.head.ordinal + 1, wanted, visible)


def _stream_items(room: Room, position: RoomPosition | None) -> tuple[Sequence[Item], int]:
    """Return the new items of the room's stream; for a client new to the room, only the newest receipts."""
    if position is not None:
        return joined.stream_items(room, position.seq)
    if room.head.seq == 0:
        return [], 0
    newest = streams.read_newest(streams.room_stream(room.room_id), room.head.seq, NEWEST)
    return newest[::-1], room.head.seq


def _counting(ctx: Context, news: RoomNews, asked: Asked) -> Context:
    """Return the context for counting unread events. It avoids reading receipts that have all been read
    already.
    """
    has_all = news.position is None and len(news.items) < NEWEST and asked.with_data
    return ctx.as_beginner if has_all else ctx


# -- The section -----------------------------------------------------------------------------------------


def _section(
    ctx: Context, news: RoomNews, asked: Asked, events: list[ClientEvent]
) -> tuple[RoomSection, tuple[str, ...]]:
    """Return the room's section, and the marks of the members whose events the client then has."""
    room, position, window = news.room, news.position, news.window
    change = _change(news, asked)
    lazy = required_state.is_lazy(asked.wish.required)
    needed = room_state.members_needed(window) if lazy else set()
    # If the client has an older event of a member, it lacks the current one.
    marks = room_state.marks_after(change, position)
    state = room_state.wanted_state(
        room,
        asked.wish.required,
        change,
        room_state.lacking(needed, marks),
        known=asked.known,
        current=asked.current,
        is_whole=position is not None and window.start <= position.ordinal + 1,
    )
    members = joined.remember(marks, [UserId(key) for kind, key in state if kind == MEMBER])
    section: RoomSection = _about(ctx, news, change, asked)
    shown: list[EventFields] = [*joined.shown_state(ctx, news.viewer, state)]
    if asked.is_merged:
        shown += room_state.stubs(asked.wish.required, change)
    if shown:
        section["required_state"] = shown
    if events or position is None or window.limited or section:
        section |= _timeline(news, asked, events)
    return section, members


def _change(news: RoomNews, asked: Asked) -> Change:
    """Return the changes of the state. If the state version is unchanged, nothing is read."""
    if news.position is None or asked.shown is None:
        return Change(None)
    if news.room.head.state_version == asked.shown.state_version:
        return Change({})
    return room_state.changes_since(news.room, news.position, news.window)


def _timeline(news: RoomNews, asked: Asked, events: list[ClientEvent]) -> RoomSection:
    room, position, window = news.room, news.position, news.window
    section: RoomSection = {"timeline": events} if events or position is None else {}
    expanded = position is not None and is_expanded(asked)
    limited = window.limited
    if expanded and not events:
        expanded = False
    if expanded:
        if asked.is_merged:
            section["expanded_timeline"] = True
        else:
            section["unstable_expanded_timeline"] = True
    section["limited"] = limited
    section["num_live"] = sum(is_live(entry, position, asked.told_ms) for entry in window.entries)
    if events or position is None or limited:
        shown = room.head.ordinal if position is None and not limited else None
        section["prev_batch"] = pagination.position_token(window.before_first, shown=shown)
    return section


def is_live(entry: LogEntry, position: RoomPosition | None, told_ms: int | None) -> bool:
    """Return whether an event came after the client's last update of the room, or of anything if the room is
    new.
    """
    if position is not None:
        return entry.ordinal > position.ordinal
    return told_ms is not None and entry.event.origin_server_ts > told_ms


def _about(ctx: Context, news: RoomNews, change: Change, asked: Asked) -> RoomSection:
    """Return the changes of the room's name, avatar, members and direct chat flag."""
    room, is_initial = news.room, news.position is None
    section: RoomSection = {}
    if is_initial:
        section["initial"] = True
    named = names_of(room.events([NAME_KEY, AVATAR_KEY]), news.viewer)
    if change.concerns(NAME_KEY) and ("name" in named or not is_initial):
        section["name"] = named.get("name")
    if change.concerns(AVATAR_KEY) and ("avatar" in named or not is_initial):
        section["avatar"] = named.get("avatar")
    if change.has_members or change.concerns(NAME_KEY):
        if "name" not in named:
            section["heroes"] = [_hero(event) for event in joined.heroes_of(ctx, room).values()]
        section["joined_count"], section["invited_count"] = room.head.joined, room.head.invited
    if asked.is_direct if asked.shown is None else asked.shown.is_dm != asked.is_direct:
        section["is_dm"] = asked.is_direct
    return section


def names_of(state: Mapping[StateKey, Event], viewer: Viewer) -> RoomSection:
    """Return the room's name and avatar if its state has them."""
    shown = {pair: viewer.event_copy(state[pair]) for pair in (NAME_KEY, AVATAR_KEY) if pair in state}
    found: RoomSection = {}
    if (name := _text(shown.get(NAME_KEY), "name")) is not None:
        found["name"] = name
    if (avatar := _text(shown.get(AVATAR_KEY), "url")) is not None:
        found["avatar"] = avatar
    return found


def _text(event: Event | None, name: str) -> str | None:
    value = event.content.get(name) if event is not None else None
    return value if isinstance(value, str) and value else None


def _hero(event: Event) -> Hero:
    hero: Hero = {"user_id": event.member_id}
    if (name := _text(event, "displayname")) is not None:
        hero["displayname"] = name
    if (avatar := _text(event, "avatar_url")) is not None:
        hero["avatar_url"] = avatar
    return hero


def _common(row: Membership, room: Room, asked: Asked, window: Window, *, is_initial: bool) -> RoomSection:
    """Return the fields that every section has."""
    section: RoomSection = {}
    if is_initial or window.entries:
        section["bump_stamp"] = _bump_ms(row, room, window)
    return section | merged_fields(row, asked.wish) if asked.is_merged else section


def merged_fields(row: Membership, wish: Wish | None) -> RoomSection:
    """Return the fields that the accepted form adds to each room."""
    fields: RoomSection = {"membership": row.membership}
    if wish is not None and wish.lists:
        fields["lists"] = sorted(wish.lists)
    return fields


def _bump_ms(row: Membership, room: Room, window: Window) -> int:
    """Return the time of the last event that moves the room up in clients' lists."""
    if room.head.bumped_ms is not None:
        return room.head.bumped_ms
    # The room was last active before these times were recorded.
    bumps = [entry.event.origin_server_ts for entry in window.entries if entry.event.type in BUMPS]
    return max(bumps, default=activity_ms(row, room))


def _shown(room: Room, asked: Asked, position: RoomPosition | None, window: Window) -> tuple[Shown, Required]:
    """Return the part of the room that the client then has, and the required state for it."""
    before, wish = asked.shown, asked.wish
    state_version = room.head.state_version
    if before is None or position is None:
        return Shown(
            wish.timeline_limit, 0, state_version, asked.is_direct, not window.limited
        ), wish.required
    limit, is_whole, required = before.limit, before.is_whole, asked.known
    if is_expanded(asked) or window.start > position.ordinal + 1:
        limit = wish.timeline_limit
        is_whole = not window.limited
    if state_version != before.state_version or not required_state.covers(asked.known, wish.required):
        required = wish.required
    return Shown(limit, 0, state_version, asked.is_direct, is_whole, before.is_behind), required


# -- Extensions ------------------------------------------------------------------------------------------


def _add_extensions(ctx: Context, news: RoomNews, asked: Asked, part: RoomPart) -> None:
    """Add the room's receipts, typing and account data to its part."""
    room_id, position = news.room.room_id, news.position
    events, part.typing_until_ms = joined.ephemeral_events(ctx, room_id, news.items, position)
    by_type = {event["type"]: event for event in events}
    if asked.with_receipts and (receipts := by_type.get("m.receipt")) is not None:
        part.receipts = receipts if position is not None else _of_shown(ctx, receipts, news.window)
    if asked.with_typing:
        part.typing = by_type.get("m.typing")
    if asked.with_data:
        part.account_data = joined.room_account_data(ctx, room_id) or None


def _of_shown(ctx: Context, receipt: ClientEvent, window: Window) -> ClientEvent | None:
    """Return the receipts for events that the client has, and the user's own receipts."""
    shown = {entry.event.event_id for entry in window.entries}
    content: JsonDict = {}
    for event_id, by_type in receipt["content"].items():
        kept = {
            kind: users
            if event_id in shown
            else {user_id: each for user_id, each in users.items() if user_id == ctx.user_id}
            for kind, users in by_type.items()
        }
        if kept := {kind: users for kind, users in kept.items() if users}:
            content[event_id] = kept
    return {**receipt, "content": content} if content else None
