"""A room's history, members and initial sync, as client API v1 requests them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from murmuration.aws.concurrency import gather
from murmuration.clock import now_ms
from murmuration.drafts.v1.events import V1, Form
from murmuration.drafts.v1.stream import as_bad_pagination, own_presence, page_limit, paging_int
from murmuration.identity.tokens import AccessToken
from murmuration.presence import views
from murmuration.protocol.encoding.shapes import Answer, JsonDict
from murmuration.protocol.errors import BadPagination, InvalidParam, NotFound
from murmuration.protocol.events import Event
from murmuration.protocol.filters import EventFilter
from murmuration.protocol.identifiers import EventId, RoomId
from murmuration.protocol.presence import OFFLINE, as_today
from murmuration.protocol.sizes import LIST_BYTES, Budget
from murmuration.rooms.ephemeral.receipts import receipt_event
from murmuration.rooms.lookup import fits_id
from murmuration.rooms.reading import state_reads, timeline
from murmuration.rooms.reading.client_events import client_event, client_events, state_event
from murmuration.rooms.reading.pagination import position_token
from murmuration.rooms.reading.past_state import state_after
from murmuration.rooms.reading.timeline import PageRequest, Scan
from murmuration.rooms.reading.viewing import View, open_view
from murmuration.storage.live import streams
from murmuration.storage.rooms import directory, event_places
from murmuration.storage.users import account_data

if TYPE_CHECKING:
    from murmuration.aws.dynamodb import Item

MAX_PRESENCE = 100


def get_messages(token: AccessToken, room_id: RoomId, query: Mapping[str, str]) -> Answer:
    """Return a page of the timeline: `chunk`, `start`, `end`. Raises UnknownToken, Forbidden,
    BadPagination.
    """
    direction = query.get("dir", "b")
    if direction not in ("b", "f"):
        raise BadPagination("dir must be b or f")
    limit = paging_int(query.get("limit"), "limit", timeline.DEFAULT_LIMIT)
    page = PageRequest(direction == "f", query.get("from"), query.get("to"), limit)
    try:
        found = timeline.get_messages(token, room_id, page)
    except InvalidParam as error:
        raise as_bad_pagination(error) from error
    chunk = [V1(event) for event in found["chunk"]]
    return {"chunk": chunk, "start": found["start"], "end": found.get("end", found["start"])}


def get_members(token: AccessToken, room_id: RoomId, query: Mapping[str, str]) -> Answer:
    """Return the membership events, now or at the token `from`; the tokens `start` and `end` name that
    position.

    Raises UnknownToken, Forbidden, BadPagination.
    """
    at = query.get("from")
    try:
        chunk = state_reads.get_members(token, room_id, at=at)
    except InvalidParam as error:
        raise as_bad_pagination(error) from error
    place = at or position_token(open_view(token, room_id).horizon())
    return {"chunk": [V1(event) for event in chunk], "start": place, "end": place}


def get_event(token: AccessToken, event_id: EventId, form: Form) -> Answer:
    """Return one event, whichever room it is in. Raises UnknownToken, NotFound if the user may not see it."""
    room_id = event_places.read_room_of(event_id) if fits_id(event_id) else None
    view = open_view(token, room_id or RoomId("!nowhere"), otherwise=NotFound)
    seen = view.find(event_id)
    return form(client_event(seen.entry, view.viewer, membership=seen.membership))


def room_initial_sync(token: AccessToken, room_id: RoomId, query: Mapping[str, str], form: Form) -> Answer:
    """Return one room for a user who opens it: newest messages, state, presence of members, receipts.

    A user who left gets the room as it was then. A user who never was in it gets what anyone may see. Raises
    UnknownToken, Forbidden, BadPagination.
    """
    limit = page_limit(query)
    view = open_view(token, room_id)
    horizon, bottom = view.horizon(), view.room.head.oldest - 1
    scan = Scan(view, EventFilter(), horizon, bottom, forward=False)
    departure = view.departure()
    _, state, (published, items) = gather(
        functools.partial(scan.run, limit),
        functools.partial(state_after, view.room, departure),
        lambda: (directory.is_published(room_id), _receipts(view)),
    )
    events = scan.keep(client_events(scan.found, view.viewer), Budget(LIST_BYTES // 2))
    shown: dict[str, Any] = {
        "room_id": room_id,
        "messages": {
            "chunk": [form(event) for event in events[::-1]],
            "start": position_token(scan.position),
            "end": position_token(horizon),
        },
        "state": [form(state_event(event, view.viewer)) for event in state.values()],
        "visibility": "public" if published else "private",
        "presence": _presence(view, list(state.values()), form),
        "receipts": [],
    }
    if view.membership is not None:
        shown["membership"] = view.membership.membership
    if not form.founding:
        kept, own = gather(
            functools.partial(account_data.read_room, view.viewer.user_id, room_id),
            functools.partial(own_presence, view.viewer.user_id, form),
        )
        shown["account_data"] = [{"type": kind, "content": content} for kind, content in kept.items()]
        shown["presence"] = [*own, *shown["presence"]]
    read = receipt_event(items, view.viewer.user_id, ignored=view.viewer.ignored)
    if read is not None:
        shown["receipts"] = [form(read, room_id)]
    return shown


def _receipts(view: View) -> list[Item]:
    """Return the items of the room's receipts, if the requester is a member."""
    if not view.viewer.is_joined:
        return []
    return streams.read_prefix(streams.room_stream(view.room.room_id), "receipt#")


def _presence(view: View, state: list[Event], form: Form) -> list[JsonDict]:
    """Return the presence of the first `MAX_PRESENCE` other members who aren't offline, if the requester is a
    member.
    """
    if not view.viewer.is_joined:
        return []
    now = now_ms()
    joined = [event.member_id for event in state if event.membership == "join" and event.state_key]
    others = [user_id for user_id in joined if user_id not in {view.viewer.user_id, *view.viewer.ignored}]
    return [
        form.presence(one.event(shown if form.founding else as_today(shown), now))
        for one in views.look_at(others[:MAX_PRESENCE])
        if (shown := one.presence.shown(now)) != OFFLINE
    ]
