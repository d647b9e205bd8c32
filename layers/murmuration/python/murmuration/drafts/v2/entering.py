"""Creating and joining rooms in version 2. The answer shows the room, if the client asks for that.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from murmuration.aws.concurrency import gather
from murmuration.aws.reads import fetch
from murmuration.clock import now_ms
from murmuration.drafts.v2.actions import check_action_id
from murmuration.drafts.v2.bundles import render_events, render_state
from murmuration.drafts.v2.history import Reading, make_reading
from murmuration.drafts.v2.memberships import room_of_event
from murmuration.drafts.v2.streaming import StreamingToken, entering, parse_optional
from murmuration.federation.membership import inviting, joining
from murmuration.identity.tokens import AccessToken, Requester
from murmuration.presence import views
from murmuration.protocol.bodies import Fields
from murmuration.protocol.encoding.shapes import Answer
from murmuration.protocol.errors import BadJson, MissingParam, NotFound
from murmuration.protocol.events import Event
from murmuration.protocol.filters import EventFilter
from murmuration.protocol.identifiers import EventId, RoomId
from murmuration.protocol.presence import OFFLINE
from murmuration.rooms.lifecycle.creation import RoomRequest
from murmuration.rooms.membership.joining import JoinRequest
from murmuration.rooms.reading.pagination import position_token
from murmuration.rooms.reading.timeline import MAX_LIMIT, Scan
from murmuration.rooms.reading.viewing import View, open_view
from murmuration.rooms.room import Room
from murmuration.storage.live.typing_users import typing_read
from murmuration.storage.rooms import event_store, room_items
from murmuration.storage.users import memberships

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import ClientEvent

NAMES = ("room_id", "alias", "invite")
"""The fields that may name the room to join; `invite` is the invite's event ID."""
MAX_PRESENCE = 100


@dataclass(frozen=True, slots=True)
class ResponseConfig:
    """The parts of the room that the answer includes. The stream `streaming` then leaves them out."""

    reading: Reading = field(default_factory=Reading)
    state: EventFilter = field(default_factory=EventFilter)
    streaming: StreamingToken | None = None

    @classmethod
    def from_body(cls, token: AccessToken, body: Fields) -> ResponseConfig | None:
        """Return the configuration in a body; None if the client asks for nothing.

        Raises BadJson, and NotFound for unknown tokens.
        """
        values = body.optional_object("response")
        if values is None:
            return None
        config = Fields(values)
        reading = make_reading(
            token,
            config.optional_string("filter"),
            limit=config.integer("max", Reading().limit),
            replies=config.integer("replies", -1, low=-1),
        )
        state = make_reading(token, config.optional_string("state_filter")).filter
        return cls(reading, state, parse_optional(token.user_id, config.optional_string("streaming")))


def create_room(token: AccessToken, requester: Requester, body: Fields, action_id: str | None) -> Answer:
    """Create a room, once for an action ID. Returns `room_id`, and the `response` that `body` asks for.

    `body` is that of today's createRoom, with `published` in addition. Raises what creating a room raises.
    """
    published = body.boolean("published", False)
    wanted = RoomRequest.from_body(body, visibility="public" if published else "private")
    config = ResponseConfig.from_body(token, body)
    check_action_id(action_id)
    return _answer(token, config, lambda: inviting.create_room(requester, wanted, txn_id=action_id))


def join_room(token: AccessToken, requester: Requester, body: Fields) -> Answer:
    """Join the room that `body` names by ID, alias, or the event of an invite.

    If this server isn't in the room, it joins through the `servers` in the body. Returns `room_id`, and the
    `response` that `body` asks for. Raises MissingParam if the body names no room, BadJson, NotFound for an
    unknown room or invite, Forbidden.
    """
    named = [name for name in NAMES if body.optional_string(name) is not None]
    if not named:
        raise MissingParam(f"One of {', '.join(NAMES)} must name the room")
    if len(named) > 1:
        raise BadJson(f"The room must be named once, not by {' and '.join(named)}")
    servers = body.strings("servers")
    room = body.string(named[0])
    if named[0] == "invite":
        room = _invited_to(requester, EventId(room))
    config = ResponseConfig.from_body(token, body)
    wanted = JoinRequest.from_body(room, body)
    return _answer(token, config, lambda: joining.join_room(token, wanted, servers))


def _invited_to(requester: Requester, event_id: EventId) -> RoomId:
    """Return the room to which this event invited the requester, unless they have left it since."""
    room_id = room_of_event(event_id)
    invite = event_store.read_events([event_id], Room.load(room_id).version, room_id).get(event_id)
    row = memberships.read_membership(requester.user_id, room_id)
    if invite is None or (invite.state_key, invite.membership) != (requester.user_id, "invite"):
        raise NotFound("There is no such invite")
    if row is None or (row.membership != "join" and (row.membership, row.event_id) != ("invite", event_id)):
        raise NotFound("The invite is no longer open")
    return room_id


def _answer(token: AccessToken, config: ResponseConfig | None, enter: Callable[[], RoomId]) -> Answer:
    """Call `enter` to enter a room, and return the parts of the room that the client asks for."""
    if config is None:
        return {"room_id": enter()}
    with entering(config.streaming) as shown:
        room_id = enter()
        return {"room_id": room_id, "response": _show_room(token, room_id, config, shown)}


def _show_room(
    token: AccessToken, room_id: RoomId, config: ResponseConfig, given: list[EventId]
) -> Mapping[str, Any]:
    """Return a room for a user who enters it: the newest `events`, oldest first, the current `state`,
    `members`.

    `typing` are the users who type. `presence` is that of members in the state, if they are online. `token`
    is for earlier events, if there are any. Adds to `given` the IDs of those events that would also come down
    streams. Raises UnknownToken, Forbidden.
    """
    view = open_view(token, room_id)
    bottom = view.room.head.oldest - 1
    scan = Scan(
        view, config.reading.filter, view.horizon(), bottom, forward=False, admits=config.reading.form.admits
    )
    limit = min(config.reading.limit, MAX_LIMIT)
    read_state = functools.partial(room_items.read_state_of_type, room_id, view.room.version)
    read_typing = functools.partial(fetch, typing_read(room_id))
    _, entries, typed = gather(functools.partial(scan.run, limit), read_state, read_typing)
    state = [entry.event for entry in entries if config.state.matches(entry.event.pdu)]
    since = view.viewer.since if view.viewer.since is not None else view.room.head.ordinal
    newer = {entry.event.event_id for entry in entries if entry.ordinal is None or entry.ordinal >= since}
    given += [event.event_id for event in state if event.event_id in newer]
    given += [seen.entry.event.event_id for seen in scan.found[::-1] if seen.entry.ordinal >= since]
    now = now_ms()
    shown = {
        "events": render_events(scan.found[::-1], view.viewer, config.reading.form),
        "state": [render_state(event, view.viewer) for event in state],
        "members": view.room.head.joined,
        "typing": sorted(typed.running(now)),
        "presence": _presence(state, view, now),
    }
    return shown | ({"token": position_token(scan.position)} if scan.position > bottom else {})


def _presence(state: Iterable[Event], view: View, now: int) -> list[ClientEvent]:
    """Return the presence of the first `MAX_PRESENCE` other members in the state who aren't offline."""
    joined = [event.member_id for event in state if event.membership == "join" and event.state_key]
    others = [user_id for user_id in joined if user_id not in {view.viewer.user_id, *view.viewer.ignored}]
    seen = views.look_at(others[:MAX_PRESENCE])
    return [one.event(one.presence.shown(now), now) for one in seen if one.presence.shown(now) != OFFLINE]
