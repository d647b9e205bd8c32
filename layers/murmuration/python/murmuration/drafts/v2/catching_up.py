"""Catching up in version 2: all rooms (initialSync) or one (scrollback), whole or only what is new since a
token.

New events are returned if they aren't more than the client wants. Otherwise the room is returned as for the
first time, with its newest events.
https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from murmuration.aws.concurrency import gather, parallel
from murmuration.aws.dynamodb import execute
from murmuration.drafts.reading import Sections
from murmuration.drafts.v2 import filters, streaming
from murmuration.drafts.v2.bundles import render_events, render_state
from murmuration.drafts.v2.event_stream import invitation, presence_of
from murmuration.drafts.v2.filters import Filter
from murmuration.drafts.v2.history import Reading
from murmuration.drafts.v2.streaming import StreamingToken
from murmuration.identity.tokens import AccessToken
from murmuration.presence.telling import SMALL_ROOM
from murmuration.protocol.encoding.shapes import Answer, EventFields, JsonDict
from murmuration.protocol.events import Event
from murmuration.protocol.filters import EventFilter
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.rooms.reading.pagination import position_token
from murmuration.rooms.reading.past_state import state_after, state_at
from murmuration.rooms.reading.timeline import MAX_LIMIT, Scan
from murmuration.rooms.reading.viewing import View, open_view
from murmuration.rooms.reading.visibility import Viewer
from murmuration.rooms.room import Room
from murmuration.storage.live import streamings
from murmuration.storage.live import sync_tokens as tokens
from murmuration.storage.live.positions import Positions, RoomPosition, room_hash, unbroken
from murmuration.storage.rooms import member_index, room_items
from murmuration.storage.rooms.room_items import LogEntry, StateEntry
from murmuration.storage.users.memberships import Membership
from murmuration.sync import timeline
from murmuration.sync.context import Context
from murmuration.sync.engine import sync
from murmuration.sync.readers import RoomNews
from murmuration.sync.request import SyncRequest
from murmuration.sync.timeline import Window

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import ClientEvent

FEW_TYPES = 8
"""Up to this number, types of state are read one by one; beyond it, the room's whole state is read."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The parts of a room that a client wants: which message events, how many at most, and which current
    state.
    """

    messages: Filter
    state: Filter
    most: int

    @classmethod
    def read(cls, token: AccessToken, filter_token: str | None, state_token: str | None, most: int) -> Wanted:
        """Return the parts that the stored filters with these tokens describe. Raises NotFound."""
        messages, state = gather(
            functools.partial(filters.read, token.user_id, filter_token),
            functools.partial(filters.read, token.user_id, state_token),
        )
        return cls(messages, state, min(most, MAX_LIMIT))

    @property
    def reading(self) -> Reading:
        return Reading(self.most, self.messages.events, self.messages.form)


@dataclass(frozen=True, slots=True)
class Page:
    """Events of a room, oldest first, and its state. `token` is for earlier events, if the page is fresh.

    `entries` are the events' entries in the room's log.
    """

    entries: list[LogEntry]
    events: list[JsonDict]
    state: list[dict[str, Any]]
    incremental: bool
    token: str | None


def initial_sync(token: AccessToken, text: str | None, wanted: Wanted, *, compact: bool = False) -> Answer:
    """Return all rooms of a stream, or only what is new since the token; also `presence`, and the next token.

    Each of `rooms` has its `messages`, oldest first, and `state`; whether they are `incremental`; the `token`
    for earlier messages, if there are any; and its number of `members`. In the compact form, `events` has
    each event once, by ID, and `messages` and `state` have IDs. Without a token, a stream of all rooms
    begins. Raises UnknownToken, NotFound for an unknown stream.
    """
    stream = (
        streaming.parse(token.user_id, text)
        if text is not None
        else streaming.create(token, streaming.EVERYTHING)
    )
    body = sync(
        SyncRequest(
            token,
            stream.row,
            stream.sync_filter(wanted.messages, of_presence=False),
            set_presence=None,
            to_device=False,
            reader=Pages(wanted, presence=bool(stream.streaming.users)),
            whole=True,
        )
    )
    streamings.renew(stream.streaming)
    rooms = [
        {"room_id": room_id, **(_compact(section) if compact and "messages" in section else section)}
        for kind in ("join", "invite", "knock", "leave")
        for room_id, section in body.get("rooms", {}).get(kind, {}).items()
    ]
    end = stream.at(str(body["next_batch"]))
    return {"rooms": rooms, "presence": presence_of(body), "streaming": end}


def _compact(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return the section with each event once. The copies in the history are kept, because they say what they
    replaced.
    """
    events: JsonDict = {}
    for event in (*section["messages"], *section["state"]):
        events.setdefault(event["event_id"], event)
    ids = {name: [event["event_id"] for event in section[name]] for name in ("messages", "state")}
    return {**section, **ids, "events": events}


def scroll_back(token: AccessToken, room_id: RoomId, text: str | None, wanted: Wanted) -> Answer:
    """Return one room: `events`, `state`, whether they are `incremental`, and the `token` for earlier events.

    With a streaming token it returns only what is new, unless that is more than the client wants. `streaming`
    is then the token with which the stream continues without the events of the answer. Raises UnknownToken,
    Forbidden, NotFound for an unknown stream.
    """
    stream = streaming.parse_optional(token.user_id, text)
    view = open_view(token, room_id)
    view.require_reading()
    before = None
    if stream is not None and stream.row is not None:
        before = tokens.read(token.user_id, stream.row, token.device_id)
    name = room_hash(token.user_id, RoomId(room_id))
    position = unbroken(before.rooms.get(name) if before is not None else None, view.viewer.since)
    page = read_page(view, position, wanted)
    answer: Answer = {
        "events": page.events,
        "state": page.state,
        "incremental": page.incremental,
        "members": view.room.head.joined,
    }
    if page.token is not None:
        answer["token"] = page.token
    if stream is not None:
        if stream.row is None:
            _leave_out(stream, view, page.entries)
        answer["streaming"] = _moved(token, stream, before, view, position)
    return answer


def _leave_out(stream: StreamingToken, view: View, entries: Sequence[LogEntry]) -> None:
    """Make a stream leave out these events, if it began before them and nothing has been read from it yet."""
    user_id, room_id = view.requester.user_id, view.room.room_id
    if not stream.is_about(room_id) or view.viewer.since is None:
        return
    began = tokens.read(user_id, stream.streaming.start)
    position = began.rooms.get(room_hash(user_id, room_id)) if began is not None else None
    start = position.ordinal if position is not None else view.viewer.since - 1
    if newer := [entry.event.event_id for entry in entries if entry.ordinal > start]:
        execute(streaming.giving(stream, newer))


def _moved(
    token: AccessToken,
    stream: StreamingToken,
    before: Positions | None,
    view: View,
    position: RoomPosition | None,
) -> str:
    """Return the stream's token after the shown part of the room, if the stream has begun and includes the
    room.
    """
    head, about = view.room.head, stream.is_about(view.room.room_id)
    known = position is not None and position.ordinal >= head.ordinal
    if before is None or not about or known or not view.viewer.is_joined or head.unsettled is not None:
        return stream.text
    after = before.copy()
    seq = position.seq if position is not None else 0
    after.rooms[room_hash(token.user_id, view.room.room_id)] = RoomPosition(head.ordinal, seq)
    return stream.at(tokens.write(token.user_id, token.device_id, after))


# -- A room --------------------------------------------------------------------------------------------------


def read_page(view: View, position: RoomPosition | None, wanted: Wanted) -> Page:
    """Return the events of a room since a position, or the newest ones. Raises Forbidden."""
    head, horizon = view.room.head, view.horizon()
    bottom = head.oldest - 1 if position is None else min(position.ordinal, horizon)
    reading = wanted.reading
    scan = Scan(view, reading.filter, horizon, bottom, forward=False, admits=reading.form.admits)
    scan.run(wanted.most + 1)
    most = min(wanted.most, timeline.count_within(scan.found))
    found, more = scan.found[:most], len(scan.found) > most or not scan.exhausted
    incremental = position is not None and not more
    token = None
    if more:
        place = found[-1].entry.ordinal - 1 if found else horizon
        token = position_token(place if len(scan.found) > most else scan.position)
    events, state = gather(
        functools.partial(render_events, found[::-1], view.viewer, reading.form),
        functools.partial(_state, view, position if incremental else None, wanted.state),
    )
    return Page([seen.entry for seen in found], events, state, incremental, token)


def _state(view: View, position: RoomPosition | None, wanted: Filter) -> list[dict[str, Any]]:
    """Return the room's state as it was when its head was read, or the changes of it since a position."""
    room = view.room
    if wanted.events.admits_nothing or not wanted.events.admits_room(room.room_id):
        return []
    found: Iterable[Event]
    departure = view.departure()
    if departure is not None and position is not None:
        changed = timeline.state_delta(room, position.ordinal, departure.current_root)
        found = [*changed.values(), departure.event]
    elif departure is not None or not view.viewer.is_joined:
        found = state_after(room, departure).values()
    elif position is not None:
        found = timeline.state_delta(room, position.ordinal, room.head.state_root).values()
    else:
        entries = _current_state(room, wanted.events)
        found = state_at(room, room.head.state_root, room.head.ordinal + 1, entries).values()
    return [
        wanted.form.project(render_state(event, view.viewer))
        for event in found
        if wanted.events.matches(event.pdu)
    ]


def _current_state(room: Room, wanted: EventFilter) -> list[StateEntry]:
    types = wanted.types
    if types is None or len(types) > FEW_TYPES or any("*" in each for each in types):
        return room_items.read_state_of_type(room.room_id, room.version)
    read = functools.partial(room_items.read_state_of_type, room.room_id, room.version)
    pages = parallel(*(functools.partial(read, each) for each in dict.fromkeys(types)))
    return [entry for page in pages for entry in page]


class Pages(Sections):
    """The reader of an initialSync. With `presence` it includes the presence of the rooms' members."""

    def __init__(self, wanted: Wanted, *, presence: bool) -> None:
        self.wanted = wanted
        self.presence = presence

    def window(self, _ctx: Context, room: Room, _viewer: Viewer, _position: RoomPosition | None, /) -> Window:
        """Return an empty window: pages are read later, when it is known that the user may see the room."""
        return Window((), room.head.ordinal + 1, room.head.state_root, limited=False, passed=())

    def joined(self, ctx: Context, news: RoomNews, ephemeral: list[ClientEvent], /) -> dict[str, Any] | None:
        view = View(ctx.requester, news.room, news.viewer, news.membership)
        section = self._section(view, news.position, ephemeral)
        told = section["messages"] or section["state"] or ephemeral
        return section if told or not section["incremental"] else None

    def present(self, news: RoomNews, /) -> Mapping[UserId, str]:
        """Return all members of a small room, where changes aren't noted while nobody is online."""
        room = news.room
        if news.position is not None or not self.presence or not 1 < room.head.joined <= SMALL_ROOM:
            return {}
        return dict.fromkeys(member_index.read_present(room.head), room.room_id)

    def left_room(self, ctx: Context, room: Room, row: Membership, /) -> dict[str, Any] | None:
        view = View(ctx.requester, room, ctx.viewer(row, room), row)
        if view.viewer.joined_until is None:
            return {"membership": row.membership}
        return self._section(view, ctx.position(room.room_id), ())

    def outside(self, _ctx: Context, row: Membership, /) -> dict[str, Any] | None:
        return {"membership": row.membership, row.membership: invitation(row)}

    def _section(
        self, view: View, position: RoomPosition | None, ephemeral: Sequence[EventFields]
    ) -> dict[str, Any]:
        page = read_page(view, position, self.wanted)
        section: dict[str, Any] = {
            "membership": view.membership.membership if view.membership is not None else "leave",
            "messages": page.events,
            "state": page.state,
            "incremental": page.incremental,
        }
        if view.viewer.is_joined:
            section["members"] = view.room.head.joined
        if page.token is not None:
            section["token"] = page.token
        if ephemeral:
            section["ephemeral"] = [{**event, "room_id": view.room.room_id} for event in ephemeral]
        return section
