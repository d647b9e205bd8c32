"""The stream of all events: /events, which is long-polled, and /initialSync, where it begins.

Both use the code of /sync. If /sync would leave a gap in a room, this stream continues at the client's
position, oldest first, so the client gets every event in order.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from murmuration.clock import now_ms
from murmuration.drafts.reading import FoundingSections
from murmuration.drafts.v1.events import Form
from murmuration.drafts.v1.room_stream import get_room_events
from murmuration.identity.tokens import AccessToken
from murmuration.presence.views import look_at
from murmuration.protocol.encoding.shapes import Answer, Body, EventFields
from murmuration.protocol.errors import BadPagination, InvalidParam
from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.filters import EventFilter
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.protocol.presence import as_today
from murmuration.protocol.sizes import LIST_BYTES, Budget, json_bytes
from murmuration.rooms.reading.client_events import client_events
from murmuration.rooms.reading.timeline import Scan
from murmuration.rooms.reading.viewing import open_view
from murmuration.storage.live import sync_tokens as tokens
from murmuration.storage.live.positions import Positions, RoomPosition, room_hash
from murmuration.storage.rooms import directory
from murmuration.storage.users.memberships import Membership
from murmuration.sync.context import Context
from murmuration.sync.engine import sync
from murmuration.sync.presence import INVITE
from murmuration.sync.readers.sections import SyncSections
from murmuration.sync.request import SyncRequest

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import ClientEvent
    from murmuration.sync.readers.json_types import RoomSection

AT_ONCE = 100
"""The maximum number of events of one room in an answer."""
DEFAULT_LIMIT = 16
MAX_LIMIT = 250
_NOTHING: Mapping[str, Any] = {"types": []}


# -- The stream ----------------------------------------------------------------------------------------------


def get_events(token: AccessToken, query: Mapping[str, str], form: Form) -> Answer:
    """Return the events after the token `from`: `chunk`, and `start` and `end` tokens. Waits if there are
    none.

    Without `from` it continues from now. `timeout` is in milliseconds. `room_id` limits it to one room, which
    may be any that the user may read. Raises UnknownToken, BadPagination, Forbidden.
    """
    named = query.get("room_id")
    room_id = RoomId(named) if named is not None else None
    timeout_ms = paging_int(query.get("timeout"), "timeout", 0)
    if room_id is not None:
        of_room = get_room_events(token, room_id, query.get("from"), timeout_ms, form)
        if of_room is not None:
            return of_room
    start = _checked(query.get("from"))
    room = {"timeline": {"limit": AT_ONCE}, "state": _NOTHING, "account_data": _NOTHING}
    if room_id is not None:
        room["rooms"] = [room_id]  # type: ignore[assignment]
    wanted = SyncRequest(
        token,
        start,
        json.dumps({"room": room, "account_data": _NOTHING}),
        timeout_ms=timeout_ms,
        set_presence=None,
        to_device=False,
        reader=FoundingSections() if form.founding else _WithInvites(),
    )
    if start is None:
        start = str(sync(replace(wanted, timeout_ms=0))["next_batch"])
        wanted = replace(wanted, since=start)
    body = sync(wanted)
    chunk, end = _without_gaps(token, start, body, form)
    return {"chunk": chunk, "start": start, "end": end}


def _checked(text: str | None) -> str | None:
    if text is not None and not tokens.is_stream_token(text):
        raise BadPagination("The token is not one of this server's: get one by /initialSync")
    return text


def _without_gaps(token: AccessToken, start: str, body: Body, form: Form) -> tuple[list[dict[str, Any]], str]:
    """Return the events of a sync's answer in one list, and the token after them."""
    rooms = cast("Mapping[str, Mapping[RoomId, Any]]", body.get("rooms", {}))
    found: list[dict[str, Any]] = []
    end = str(body["next_batch"])
    places = None
    budget = Budget(max(LIST_BYTES // 2, LIST_BYTES - json_bytes(body)))
    for kind in ("join", "leave"):
        for room_id, section in rooms.get(kind, {}).items():
            events = section["timeline"]["events"]
            if section["timeline"]["limited"] or (kind == "leave" and _joinings(events, token.user_id)):
                places = places or _Places.read(token, start, end)
                missed = places.go_on(room_id, budget)
                events = _since_joining(events, token.user_id) if missed is None else missed
            found += [form(event, room_id) for event in events]
            found += [form(event, room_id) for event in section.get("ephemeral", {}).get("events", ())]
    for room_id, section in rooms.get("invite", {}).items():
        found += _invitation(section, room_id, token.user_id, form)
    found += _presence(body, form)
    return found, places.next_token() if places is not None else end


@dataclass
class _Places:
    """A client's positions before and after an answer.

    `after` is moved back in rooms of which the answer shows fewer events. `before` is None if it isn't known
    any more.
    """

    token: AccessToken
    end: str
    before: Positions | None
    after: Positions
    moved: bool = False

    @classmethod
    def read(cls, token: AccessToken, start: str, end: str) -> _Places:
        before, after = (tokens.read(token.user_id, each, token.device_id) for each in (start, end))
        return cls(token, end, before, after or Positions())

    def go_on(self, room_id: RoomId, budget: Budget) -> list[ClientEvent] | None:
        """Return the events from the client's position in a room, oldest first, as many as fit into the
        budget.

        They begin with the user's join at the earliest. Returns None if the client's position isn't known.
        """
        if self.before is None:
            return None
        name = room_hash(self.token.user_id, RoomId(room_id))
        view = open_view(self.token, room_id)
        position = self.before.rooms.get(name)
        if position is None and view.viewer.since is not None:
            position = RoomPosition(view.viewer.since - 1, 0)
        reached = self.after.rooms.get(name)
        if position is None or (view.viewer.is_joined and reached is None):
            return None
        stop = view.horizon() if reached is None else min(view.horizon(), reached.ordinal)
        if view.membership is not None and not view.viewer.is_joined:
            stop = min(stop, view.membership.ordinal or stop)
        scan = Scan(view, EventFilter(), position.ordinal, stop, forward=True)
        scan.run(AT_ONCE)
        events = scan.keep(client_events(scan.found, view.viewer), budget)
        if reached is not None:
            self._move(name, replace(reached, ordinal=scan.position, unread=position.unread))
        elif not scan.exhausted:
            self.after.others.pop(name, None)  # the user's leave event has yet to be shown
            self._move(name, replace(position, ordinal=scan.position))
        return events

    def _move(self, name: str, position: RoomPosition) -> None:
        self.after.rooms[name] = position
        self.moved = True

    def next_token(self) -> str:
        """Return the token after the events that were returned."""
        if not self.moved:
            return self.end
        return tokens.write(self.token.user_id, self.token.device_id, self.after)


def _since_joining(events: list[ClientEvent], user_id: UserId) -> list[ClientEvent]:
    """Return the events from the user's join on, for a room that the client didn't know."""
    joinings = _joinings(events, user_id)
    return events[joinings[-1] :] if joinings else events


def _joinings(events: Sequence[EventFields], user_id: UserId) -> list[int]:
    """Return the indices at which the user joins, without those at which a member only changes their name."""
    return [
        number
        for number, event in enumerate(events)
        if event["type"] == MEMBER
        and event.get("state_key") == user_id
        and event["content"].get("membership") == "join"
        and event.get("unsigned", {}).get("prev_content", {}).get("membership") != "join"
    ]


class _WithInvites(SyncSections):
    """Makes the sections of /sync, in which an invite has its event ID: here it is shown as an event."""

    def outside(self, ctx: Context, row: Membership, /) -> RoomSection | None:
        if row.membership != "invite":
            return super().outside(ctx, row)
        own = {"type": MEMBER, "state_key": row.user_id}
        events = [
            {**event, "event_id": row.event_id} if own.items() <= event.items() else event
            for event in row.stripped_state
        ]
        return {"invite_state": {"events": events}}


def _invitation(
    section: Mapping[str, Any], room_id: RoomId, user_id: UserId, form: Form
) -> Iterator[dict[str, Any]]:
    """Yield the user's invitation to a room, with the room's state that it contains."""
    state = section["invite_state"]["events"]
    for event in state:
        if event["type"] == MEMBER and event.get("state_key") == user_id:
            others = [other for other in state if other is not event]
            yield form({**event, "invite_room_state": others}, room_id)


def _presence(body: Body, form: Form) -> list[dict[str, Any]]:
    """Return the presence events of a sync's answer and, in v1's form, those about who asks to see the user's
    presence.
    """
    sections = [body.get(name, {}).get("events", []) for name in ("presence", INVITE)]
    return [form.presence(event) for events in sections for event in events]


# -- The way into it -----------------------------------------------------------------------------------------


def initial_sync(token: AccessToken, query: Mapping[str, str], form: Form) -> Answer:
    """Return all rooms with their newest events and their state, presence, and the stream's token, `end`.

    `limit` is the number of events for each room. Today's form also has account data and, with `archived`,
    the rooms that the user has left. Rooms that don't fit have neither messages nor state: the client
    requests such a room by itself. Raises UnknownToken, BadPagination.
    """
    limit, archived = page_limit(query), not form.founding and query.get("archived") == "true"
    wanted: dict[str, Any] = {"timeline": {"limit": limit}, "include_leave": archived}
    kept = {"account_data": _NOTHING} if form.founding else {}
    body = sync(
        SyncRequest(
            token,
            None,
            json.dumps({"room": {**wanted, **kept}, **kept}),
            state_after="state_after",
            set_presence=None,
            to_device=False,
            reader=FoundingSections() if form.founding else _WithInvites(),
            whole=True,
        )
    )
    rooms = cast("Mapping[str, Mapping[RoomId, Any]]", body.get("rooms", {}))
    published = set(directory.read_published())
    end = str(body["next_batch"])
    shown = [_room(room_id, section, end, form) for room_id, section in rooms.get("join", {}).items()]
    for room_id, section in rooms.get("leave", {}).items():
        membership = section.get("membership") or _membership(section, token.user_id)
        shown.append(_room(room_id, section, end, form, membership))
    for room_id, section in rooms.get("invite", {}).items():
        for event in _invitation(section, room_id, token.user_id, form):
            shown.append(
                {"room_id": room_id, "membership": "invite", "inviter": event["sender"], "invite": event}
            )
    for room in shown:
        room["visibility"] = "public" if room["room_id"] in published else "private"
    receipts = _ephemeral(rooms.get("join", {}), lambda event: event["type"] == "m.receipt", form)
    answer = {"end": end, "rooms": shown, "presence": _presence(body, form), "receipts": receipts}
    if not form.founding:
        answer["presence"] = [*own_presence(token.user_id, form), *answer["presence"]]
        answer["account_data"] = body.get("account_data", {}).get("events", [])
    return answer


def own_presence(user_id: UserId, form: Form) -> list[dict[str, Any]]:
    """Return the event of the user's own presence, which is shown together with that of others."""
    now = now_ms()
    return [form.presence(one.event(as_today(one.presence.shown(now)), now)) for one in look_at([user_id])]


def _membership(section: Mapping[str, Any], user_id: UserId) -> str:
    """Return the user's membership in a room that they aren't in any more: `leave` or `ban`."""
    events = [*section["state_after"]["events"], *section["timeline"]["events"]]
    own = [event for event in events if event["type"] == MEMBER and event.get("state_key") == user_id]
    return str(own[-1]["content"]["membership"]) if own else "leave"


def _room(
    room_id: RoomId, section: Mapping[str, Any], end: str, form: Form, membership: str = "join"
) -> dict[str, Any]:
    if "timeline" not in section:
        return {"room_id": room_id, "membership": membership}
    timeline = section["timeline"]
    kept = {} if form.founding else {"account_data": section["account_data"]["events"]}
    return {
        "room_id": room_id,
        "membership": membership,
        **kept,
        "messages": {
            "chunk": [form(event, room_id) for event in timeline["events"]],
            "start": timeline["prev_batch"],
            "end": end,
        },
        "state": [form(event, room_id) for event in section["state_after"]["events"]],
    }


def _ephemeral(
    joined: Mapping[RoomId, Any], wanted: Callable[[Mapping[str, Any]], bool], form: Form
) -> list[dict[str, Any]]:
    return [
        form(event, room_id)
        for room_id, section in joined.items()
        for event in section.get("ephemeral", {}).get("events", ())
        if wanted(event)
    ]


def paging_int(text: str | None, name: str, default: int) -> int:
    """Return a number from a page's query. Raises BadPagination."""
    if text is None:
        return default
    try:
        number = int(text)
    except ValueError as error:
        raise BadPagination(f"{name} must be a whole number, not {text[:40]!r}") from error
    if number < 0:
        raise BadPagination(f"{name} must be at least 0")
    return number


def page_limit(query: Mapping[str, str]) -> int:
    """Return how many events of a room the request asks for. Raises BadPagination."""
    return min(paging_int(query.get("limit"), "limit", DEFAULT_LIMIT), MAX_LIMIT)


def as_bad_pagination(error: InvalidParam) -> BadPagination:
    """Return today's InvalidParam as v1's error for pages."""
    return BadPagination(error.message)
