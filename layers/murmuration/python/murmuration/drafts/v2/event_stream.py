"""Version 2's event stream: the events after a token, as they happen.

It doesn't catch up. If more than `AT_ONCE` events happened in a room, it returns the newest, and a token for
the others. A state event is shown only while it is current, so the last one of a kind that a client got is
the current state. https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from murmuration.clock import now_ms
from murmuration.drafts.reading import Sections
from murmuration.drafts.v2 import filters, streaming
from murmuration.drafts.v2.bundles import render_event, render_state
from murmuration.drafts.v2.filters import Filter
from murmuration.drafts.v2.streaming import StreamingToken
from murmuration.identity.tokens import AccessToken
from murmuration.protocol import state_trie
from murmuration.protocol.encoding.shapes import Answer, Body, JsonDict
from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.events import Event
from murmuration.rooms.reading.pagination import position_token
from murmuration.rooms.reading.visibility import Viewer, seen_by
from murmuration.rooms.room import Room
from murmuration.settings import settings
from murmuration.storage.live import streamings
from murmuration.storage.live.positions import RoomPosition, mark
from murmuration.storage.rooms import event_store, snapshots
from murmuration.storage.rooms.room_items import LogEntry
from murmuration.storage.users.memberships import Membership
from murmuration.sync import timeline
from murmuration.sync.context import Context
from murmuration.sync.engine import sync
from murmuration.sync.other_rooms import last_window
from murmuration.sync.presence import INVITE
from murmuration.sync.readers import RoomNews
from murmuration.sync.request import SyncRequest
from murmuration.sync.timeline import Window
from murmuration.sync.waiting import MAXIMUM_TIMEOUT_MS

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import ClientEvent
    from murmuration.protocol.identifiers import EventId

AT_ONCE = 50
"""The maximum number of events of one room in an answer."""
LATE = 10
"""An event is out of order if its depth is smaller by more than this than the depth of events before it."""
DEFAULT_TIMEOUT_MS = 20_000
SCROLLBACK = "m.homeserver.scrollback"


def get_events(
    token: AccessToken,
    text: str,
    filter_token: str | None,
    *,
    timeout_ms: int = DEFAULT_TIMEOUT_MS,
    out_of_order: bool = False,
) -> Answer:
    """Return the events after a streaming token, and the next token. Waits if there are none.

    `state` is other state that became current. `missed` has tokens for events that were left out, by room.
    `ephemeral` and `presence` have events of those kinds. `expired` says that the token's position isn't
    known any more and the stream begins anew. Raises UnknownToken, NotFound for an unknown stream or filter.
    """
    stream = streaming.parse(token.user_id, text)
    wanted = filters.read(token.user_id, filter_token)
    reader = EventStream(stream, wanted, out_of_order=out_of_order)
    timeout_ms = min(timeout_ms, MAXIMUM_TIMEOUT_MS)
    deadline = time.monotonic() + timeout_ms / 1000
    request = SyncRequest(
        token,
        stream.row or stream.streaming.start,
        stream.sync_filter(wanted, of_presence=True),
        timeout_ms=timeout_ms,
        set_presence=None,
        to_device=False,
        reader=reader,
    )
    while True:
        body = sync(request)
        answer = _answer(body)
        left_ms = int((deadline - time.monotonic()) * 1000)
        if answer or left_ms <= 0:
            break
        # There were events, but none for this client.
        request = replace(request, since=str(body["next_batch"]), timeout_ms=left_ms)
    streamings.renew(stream.streaming)
    end = str(body["next_batch"])
    unmoved = stream.row is None and end == stream.streaming.start
    return {"events": [], **answer, "streaming": stream.text if unmoved else stream.at(end)}


def _answer(body: Body) -> Answer:
    """Return the client's answer for a sync's answer."""
    if body.get("begun"):
        return {"expired": True}
    sections = [section for rooms in body.get("rooms", {}).values() for section in rooms.values()]
    answer: Answer = {}
    for name in ("events", "state", "ephemeral"):
        if found := [event for section in sections for event in section.get(name, ())]:
            answer[name] = found
    missed = {
        room_id: section["missed"]
        for rooms in body.get("rooms", {}).values()
        for room_id, section in rooms.items()
        if "missed" in section
    }
    if missed:
        answer["missed"] = missed
    if found := presence_of(body):
        answer["presence"] = found
    return answer


def presence_of(body: Body) -> list[JsonDict]:
    """Return a sync's events about others' presence, and about users who ask to see the user's."""
    return [event for name in ("presence", INVITE) for event in body.get(name, {}).get("events", ())]


def invitation(row: Membership) -> JsonDict:
    """Return the user's invitation to a room, or their knock on it, with the room's stripped state."""
    own, others = {}, []
    for event in row.stripped_state:
        if event.get("type") == MEMBER and event.get("state_key") == row.user_id:
            own = dict(event)
        else:
            others.append(event)
    default = {"type": MEMBER, "sender": row.sender, "state_key": row.user_id}
    content = own.get("content", {"membership": row.membership})
    return {
        **default,
        **own,
        "content": content,
        "event_id": row.event_id,
        "room_id": row.room_id,
        "invite_room_state": others,
    }


class EventStream(Sections):
    """The reader of one request's stream."""

    for_beginners = False

    def __init__(self, stream: StreamingToken, wanted: Filter, *, out_of_order: bool) -> None:
        self.stream = stream
        self.wanted = wanted
        self.out_of_order = out_of_order
        self._now: streamings.Streaming | None = None

    def look(self) -> None:
        self._now = None

    def _streaming(self) -> streamings.Streaming:
        """Return the events and rooms that actions told the stream to leave out. The read isn't older than
        that of the rooms.
        """
        if self._now is None:
            kept = self.stream.streaming
            self._now = streamings.read(kept.user_id, kept.name) or kept
        return self._now

    def postpones(self, position: RoomPosition | None, /) -> bool:
        return position is None and self._streaming().entering_until_ms > now_ms()

    def window(self, _ctx: Context, room: Room, viewer: Viewer, position: RoomPosition | None, /) -> Window:
        """Return the window of a room. For a room that the client doesn't know, it begins with the user's
        join.
        """
        after = position.ordinal if position is not None else _joined_at(room, viewer)
        wanted = replace(self.wanted.events, limit=AT_ONCE)
        visible = functools.partial(seen_by, viewer)
        window = timeline.read_window(room, after, room.head.ordinal + 1, wanted, visible)
        return timeline.newest_of(window, timeline.count_within(window.seen[::-1]))

    def joined(self, _ctx: Context, news: RoomNews, ephemeral: list[ClientEvent], /) -> dict[str, Any] | None:
        room, viewer, window = news.room, news.viewer, news.window
        superseded = _superseded(room, window.passed)
        late = late_events(room.head.depth, window.passed)
        events = self._shown(window, viewer, superseded, late)
        if news.position is None:
            events = [*self._scrollback(room, viewer), *events]
        section: dict[str, Any] = {"events": events}
        section["state"] = self._untold(news) if news.position is not None else []
        section["ephemeral"] = [{**event, "room_id": room.room_id} for event in ephemeral]
        if window.limited:
            section["missed"] = position_token(window.before_first)
        return section if any(section.values()) else None

    def left_room(self, ctx: Context, room: Room, row: Membership, /) -> dict[str, Any] | None:
        position = ctx.position(room.room_id)
        after = position.ordinal if position is not None else (row.ordinal or room.head.ordinal) - 1
        viewer, window = last_window(ctx, room, row, after, replace(self.wanted.events, limit=AT_ONCE))
        window = timeline.newest_of(window, timeline.count_within(window.seen[::-1]))
        events = self._shown(window, viewer, _replaced(window.passed), {})
        section: dict[str, Any] = {"events": events}
        if window.limited:
            section["missed"] = position_token(window.before_first)
        elif position is None and row.previous == "join":
            # all of them came and were replaced since the last look
            section["missed"] = position_token(after)
        return section if any(section.values()) else None

    def outside(self, _ctx: Context, row: Membership, /) -> dict[str, Any] | None:
        event = invitation(row)
        return {"events": [event]} if self.wanted.events.matches(event) else None

    def _shown(
        self, window: Window, viewer: Viewer, superseded: frozenset[str], late: Mapping[EventId, LogEntry]
    ) -> list[JsonDict]:
        """Return the events of a window that the stream shows."""
        form = self.wanted.form
        given = frozenset().union(*self._streaming().given) if window.seen else frozenset()
        shown = []
        for seen in window.seen:
            event_id = seen.entry.event.event_id
            is_late = event_id in late and not seen.entry.event.is_state
            if event_id in superseded or mark(event_id) in given or (is_late and not self.out_of_order):
                continue
            event = form.project(render_event(seen, viewer, federation=form.federation))
            if is_late:
                event["after"] = _last_before(seen.entry.event)
            shown.append(event)
        return shown

    def _untold(self, news: RoomNews) -> list[JsonDict]:
        """Return the state that became current among the events that weren't shown."""
        room, window, position = news.room, news.window, news.position
        if position is None or not (window.limited or any(entry.resolved for entry in window.passed)):
            return []
        told = {entry.event.event_id for entry in window.passed}
        changed = timeline.state_delta(room, position.ordinal, room.head.state_root)
        return [
            self.wanted.form.project(render_state(event, news.viewer))
            for event in changed.values()
            if event.event_id not in told and self.wanted.events.matches(event.pdu)
        ]

    def _scrollback(self, room: Room, viewer: Viewer) -> list[JsonDict]:
        """Return the server's own event that says where the stream's events of a room begin."""
        event = {
            "type": SCROLLBACK,
            "sender": settings().server_name,
            "room_id": room.room_id,
            "content": {"token": position_token(_joined_at(room, viewer))},
        }
        return [event] if self.wanted.events.admits_type(SCROLLBACK) else []


def _joined_at(room: Room, viewer: Viewer) -> int:
    """Return the position right before the user's join."""
    return (viewer.since if viewer.since is not None else room.head.ordinal + 1) - 1


def _superseded(room: Room, passed: Sequence[LogEntry]) -> frozenset[str]:
    """Return the IDs of state events that aren't current. Reads only if forks were resolved among
    `passed`.
    """
    if not any(entry.resolved for entry in passed):
        return _replaced(passed)
    state = {entry.event.event_id: pair for entry in passed if (pair := entry.event.state_pair) is not None}
    fetch = snapshots.fetch_from(room.room_id)
    current = state_trie.get(room.head.state_root, set(state.values()), fetch)
    return frozenset(event_id for event_id, pair in state.items() if current.get(pair) != event_id)


def _replaced(passed: Iterable[LogEntry]) -> frozenset[str]:
    """Return the IDs of state events that a later one replaces."""
    newest: dict[tuple[str, str], str] = {}
    replaced = set()
    for entry in passed:
        if (pair := entry.event.state_pair) is not None:
            if pair in newest:
                replaced.add(newest[pair])
            newest[pair] = entry.event.event_id
    return frozenset(replaced)


def late_events(depth: int, passed: Sequence[LogEntry]) -> dict[EventId, LogEntry]:
    """Return, by ID, the newest log entries whose events happened long before earlier entries' events.

    An event's depth shows when it happened; `depth` is that of the room's newest event.
    """
    if not passed:
        return {}
    by_id = {entry.event.event_id: entry for entry in passed}
    last = max(passed, key=lambda entry: entry.event.depth)
    front = depth
    if last.event.depth >= depth:
        while earlier := _earlier(last, by_id):
            last = max(earlier, key=lambda entry: entry.event.depth)
        front = last.event.depth - 1
    late = {}
    for entry in passed:
        if entry.event.depth < front - LATE:
            late[entry.event.event_id] = entry
        front = max(front, entry.event.depth)
    return late


def _earlier(entry: LogEntry, by_id: Mapping[EventId, LogEntry]) -> list[LogEntry]:
    """Return those entries of `by_id` that the entry's event follows and that come earlier in the log."""
    found = (by_id[event_id] for event_id in entry.event.prev_events if event_id in by_id)
    return [each for each in found if each.ordinal < entry.ordinal]


def _last_before(event: Event) -> str | None:
    """Return the last in the log of the events that this one follows."""
    previous = event.prev_events
    if len(previous) == 1:
        return previous[0]
    places = event_store.read_ordinals(previous, event.room_id)
    return max(places, key=lambda event_id: places[event_id], default=None)
