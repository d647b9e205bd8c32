"""The sync engine: from a stream token to all that its client hasn't seen.

One look takes three round trips: what the user has (memberships, streams), where their rooms stand, and then
only the rooms that moved. A fourth writes the new token, when something changed.
https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from murmuration.aws import concurrency, dynamodb
from murmuration.clock import now_ms
from murmuration.identity.tokens import AccessToken
from murmuration.presence.status import note_visit
from murmuration.protocol.errors import LimitExceeded
from murmuration.rooms.membership.invitees import INVITE_PERMISSION, blocks_invites
from murmuration.rooms.reading.visibility import ignored_users
from murmuration.rooms.room import Room
from murmuration.storage.live import listeners, streams
from murmuration.storage.live import sync_tokens as tokens
from murmuration.storage.live.listeners import Wait
from murmuration.storage.live.positions import Positions, RoomPosition, mark, room_hash
from murmuration.storage.rooms import room_items
from murmuration.storage.users import account_data
from murmuration.storage.users.memberships import Membership
from murmuration.sync import account, joined, marks, other_rooms, presence, waiting
from murmuration.sync.context import Context, DeviceLists
from murmuration.sync.device_lists import after_leaving
from murmuration.sync.first_look import FirstLook, Identity, look
from murmuration.sync.readers import Reader

MAXIMUM_TIMEOUT_MS = 25_000
"""API Gateway gives up after 29 s."""
IGNORED_USERS = "m.ignored_user_list"
MOST_BYTES = 4_000_000
"""What the joined rooms of an answer may have together, but for the first: a function may answer 6 MB."""
FEW_ROOMS = 4
"""So many rooms aren't measured: they fit, unless one alone doesn't."""
SETTLING_MS = 1000
"""How soon a room is looked at again whose state is on its way: nobody rings when it has arrived."""
KEYS = ("device_one_time_keys_count", "device_unused_fallback_key_types")
"""What each answer says."""


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """What a client asks for; `filter` is a filter's ID or its JSON.

    `set_presence` is what the user is by the device's being here, None where the stream knows no such wish.
    Without `to_device` the device's messages stay where they are, unacknowledged. `founding` tells presence
    in the founding documents' states, and in a section of its own who asks to see the user's. A `reader`
    makes other sections of the rooms. With `fingerprint`, of all that makes the answer another one
    (`marks.fingerprint`), the client may be sent away to wait with a marked token.
    """

    token: AccessToken
    since: str | None = None
    filter: str | None = None
    full_state: bool = False
    state_after: bool = False
    timeout_ms: int = 0
    fingerprint: str = ""
    set_presence: str | None = "online"
    to_device: bool = True
    founding: bool = False
    reader: Reader | None = None


@dataclass
class Answer:
    """A sync's answer in the making, and where the client stands with it."""

    positions: Positions
    sections: dict[str, Any] = field(default_factory=dict)
    rooms: dict[str, dict[str, Any]] = field(default_factory=dict)
    device_lists: DeviceLists = field(default_factory=DeviceLists)
    again_ms: int = 0
    """When to look again at what was left for later without anybody who would ring; 0 for nothing."""

    @property
    def changes_ms(self) -> int:
        """When the next look may find something by the time alone; 0 for never."""
        ends = (self.again_ms, waiting.typing_end_ms(self.positions))
        return min((end for end in ends if end), default=0)

    @property
    def has_news(self) -> bool:
        return bool(self.sections or self.rooms or self.device_lists.changed or self.device_lists.left)

    def as_json(self, next_batch: str) -> dict[str, Any]:
        body: dict[str, Any] = {"next_batch": next_batch, **self.sections}
        if self.rooms:
            body["rooms"] = self.rooms
        if self.device_lists.changed or self.device_lists.left:
            body["device_lists"] = self.device_lists.as_json()
        body["device_one_time_keys_count"] = self.positions.one_time_keys
        body["device_unused_fallback_key_types"] = self.positions.fallback_keys
        return body


@dataclass(frozen=True, slots=True)
class News:
    """A sync's answer, and when something that it tells of ends by itself (milliseconds, 0 for never)."""

    body: dict[str, Any]
    ends_ms: int


def sync(request: SyncRequest) -> dict[str, Any]:
    """What the client hasn't seen, at once if there is something, else when there is or the time is over.

    Raises UnknownToken, InvalidParam, BadJson, NotFound for a filter that doesn't exist, LimitExceeded where
    too many requests wait and there is nothing new.
    """
    return _Sync(request).run()


def news_since(token: AccessToken, since: str | None, filter_text: str | None) -> News | None:
    """What is new after the token `since`, with a new token; None for nothing. Acknowledges nothing.

    Raises UnknownToken, InvalidParam, BadJson, NotFound.
    """
    first = look(token, since, filter_text)
    answer = assemble(SyncRequest(token, since, filter_text), first)
    if first.base is not None and not answer.has_news:
        return None
    body = answer.as_json(tokens.write(token.user_id, token.device_id, answer.positions))
    ends = [answer.changes_ms]
    if "presence" in answer.sections:
        ends.append(presence.next_end_ms(answer.positions))
    return News(body, min((end for end in ends if end), default=0))


def begin(token: AccessToken, filter_text: str) -> str:
    """A token for what comes from now on. Raises UnknownToken, InvalidParam, BadJson."""
    return _begin(token, look(token, None, filter_text))


def _begin(token: AccessToken, first: FirstLook) -> str:
    """The token of one who has seen all that there is."""
    stream = streams.user_stream(token.user_id)
    keys = [
        {"stream_id": stream, "sk": account_data.data_key("", data_type)}
        for data_type in (IGNORED_USERS, INVITE_PERMISSION)
    ]
    room_ids = [row.room_id for row in first.memberships if row.membership == "join"]
    rooms, found = concurrency.gather(
        functools.partial(
            _rooms, [each for each in room_ids if first.filter.room.admits_room(each)], late=False
        ),
        functools.partial(dynamodb.batch_get, {streams.TABLE: keys}),
    )
    contents = {item["type"]: account_data.content_of(item) for item in found[streams.TABLE]}
    ignored = ignored_users(contents.get(IGNORED_USERS))
    positions = Positions(
        rooms={
            room_hash(token.user_id, room_id): RoomPosition(room.head.ordinal, room.head.seq)
            for room_id, room in rooms.items()
            if room.head.unsettled is None
        },
        others=_others(token.user_id, first.memberships),
        user=first.user_head,
        ignored=sorted(ignored - {token.user_id}),
        blocks_invites=blocks_invites(contents.get(INVITE_PERMISSION, {})),
    )
    return tokens.write(token.user_id, token.device_id, positions)


def _others(user_id: str, rows: Sequence[Membership]) -> dict[str, str]:
    return {room_hash(user_id, row.room_id): mark(row.event_id) for row in rows if row.membership != "join"}


class _Sync:
    """One request's way to its answer.

    The first look, which may be a little late, goes side by side with the registration for a wait. If it
    finds nothing, the second, which isn't late, does see all that came before the registration. A client that
    was called registers only then: there will be news.
    """

    def __init__(self, request: SyncRequest) -> None:
        self.request = request
        self.since = tokens.parse(request.since) if request.since is not None else None
        self.called = request.since is not None and request.since.startswith(tokens.CALLED)
        self.deadline = time.monotonic() + min(request.timeout_ms, MAXIMUM_TIMEOUT_MS) / 1000
        self.patient = self.since is not None and not request.full_state and request.timeout_ms > 0
        self.wait: Wait | None = None
        self.refused = False
        self.waited = False
        self.looked_since = False

    def run(self) -> dict[str, Any]:
        request = self.request
        first = look(request.token, self.since, request.filter)
        if first.base is None and request.reader is not None and not request.reader.for_beginners:
            return {"next_batch": _begin(request.token, first), "begun": True}
        self.patient = self.patient and first.base is not None
        beside: list[Callable[[], object]] = [functools.partial(self._note_visit, first)]
        if self.patient and not self.called:
            beside.append(functools.partial(self._register, first.identity))
        answer = assemble(request, first, late=self.patient, beside=beside)
        if request.to_device:
            account.acknowledge(first)
        while self.patient and not answer.has_news:
            if self.wait is None and not self.refused:
                self._register(first.identity)
            if self.wait is None:
                self._refuse()
                break
            if self.looked_since and (self.wait.kept or not self._hold(answer)):
                break
            first = look(request.token, self.since, request.filter, known=first.identity)
            answer = assemble(request, first)
            self.looked_since = True
        return self._answer(first, answer)

    def _note_visit(self, first: FirstLook) -> None:
        token = self.request.token
        note_visit(token.user_id, token.device_id, self.request.set_presence, first.presence)

    def _register(self, identity: Identity) -> None:
        """Register a parked wait where that can be, else a held one."""
        self.looked_since = False
        seconds = self.deadline - time.monotonic()
        if self.request.fingerprint and seconds * 1000 >= marks.SHORTEST_TIMEOUT_MS:
            lifetime = marks.LIFETIME_S + marks.OVERHANG_S
            # Who was called for nothing may have been refused by a queue that is gone.
            self.wait = waiting.register(
                identity.requester, identity.listener, "parked", lifetime, doubtful=self.called
            )
        if self.wait is None:
            self.wait = waiting.register(identity.requester, identity.listener, "held", seconds)
        self.refused = self.wait is None

    def _refuse(self) -> None:
        """Raise LimitExceeded for a request that wants to wait and may not, and finds nothing new.

        An empty answer at once would have its client ask again at once. A request that has waited, or didn't
        want to wait for long, gets the empty answer.
        """
        if not self.waited and self.request.timeout_ms >= marks.SHORTEST_TIMEOUT_MS:
            raise LimitExceeded(
                "Too many requests wait for news on this device", retry_after_ms=waiting.RETRY_AFTER_MS
            )

    def _hold(self, answer: Answer) -> bool:
        """Hold the request until it's worth another look; False when the time is over."""
        self.waited = True
        if self.wait is not None and waiting.wait_for_ring(self.wait, answer.changes_ms, self.deadline):
            self.wait = None
            return True
        return time.monotonic() < self.deadline

    def _answer(self, first: FirstLook, answer: Answer) -> dict[str, Any]:
        token, _ = concurrency.gather(functools.partial(self._token, first, answer), self._release)
        body = answer.as_json(token)
        if self.wait is not None and self.wait.kept:
            until = now_ms() // 1000 + marks.LIFETIME_S
            if answer.changes_ms:
                until = min(until, -(-answer.changes_ms // 1000))
            keys = {name: body[name] for name in KEYS}
            body["next_batch"] = marks.mark(token, self.wait, self.request.fingerprint, until, keys)
        return body

    def _token(self, first: FirstLook, answer: Answer) -> str:
        if self.since is not None and first.base is not None and answer.positions == first.base:
            return self.since
        return tokens.write(self.request.token.user_id, self.request.token.device_id, answer.positions)

    def _release(self) -> None:
        """Give the wait up that was for nothing, the first look having found news."""
        if self.wait is not None and not self.looked_since:
            listeners.release(self.wait)
            self.wait = None


def assemble(
    request: SyncRequest,
    first: FirstLook,
    *,
    late: bool = False,
    beside: Sequence[Callable[[], object]] = (),
) -> Answer:
    """Look at everything once; a `late` look at where the rooms stand may miss what came just now.

    What is in `beside` is called at the same time.
    """
    ctx = Context(
        requester=first.requester,
        filter=first.filter,
        base=first.base,
        now_ms=now_ms(),
        push_changes=first.push_changes,
        full_state=request.full_state,
        state_after=request.state_after,
        founding=request.founding,
        reader=request.reader,
    )
    answer = Answer(first.base.copy() if first.base is not None else Positions())
    ctx.ignored = frozenset(answer.positions.ignored)
    others = other_rooms.changed(ctx, [row for row in first.memberships if row.membership != "join"])
    member_of = [row for row in first.memberships if row.membership == "join"]
    member_of = [row for row in member_of if ctx.filter.room.admits_room(row.room_id)]
    rooms, changes, *_ = concurrency.gather(
        functools.partial(_rooms, [row.room_id for row in (*member_of, *others.left)], late=late),
        functools.partial(account.changes, first, to_device=request.to_device, keys=request.reader is None),
        *beside,
    )
    if ctx.reader is not None:
        ctx.reader.look()
    if any(room.head.unsettled for room in rooms.values()):
        answer.again_ms = ctx.now_ms + SETTLING_MS
    _take_account(ctx, answer, changes)
    told, present = _add_joined(
        ctx, answer, [(rooms[row.room_id], row) for row in member_of if row.room_id in rooms]
    )
    _keep_untold(ctx, answer, {row.room_id for row in member_of} - told)
    overlooked = {row.room_id for row in others.left if _is_overlooked(rooms.get(row.room_id), row, late)}
    _add_others(ctx, answer, others, {name: room for name, room in rooms.items() if name not in overlooked})
    in_rooms = {row.room_id for row in first.memberships if row.membership == "join"}
    present.pop(ctx.user_id, None)  # one's own comes by one's own stream
    _add_presence(ctx, answer, {**changes.presence, **present}, in_rooms)
    if ctx.founding and (invites := presence.invites(ctx, changes.asking)):
        answer.sections[presence.INVITE] = {"events": invites}
    keep = {ctx.hash(row.room_id) for row in first.memberships}
    answer.positions.rooms = {
        room: position for room, position in answer.positions.rooms.items() if room in keep
    }
    shown = [
        row
        for row in first.memberships
        if row.room_id not in overlooked
        and not (row.membership == "invite" and answer.positions.blocks_invites)
    ]
    answer.positions.others = _others(ctx.user_id, shown)
    return answer


def _rooms(room_ids: Sequence[str], *, late: bool) -> dict[str, Room]:
    """The rooms as they are now, or were a moment ago; one round trip."""
    if not room_ids:
        return {}
    keys = [room_items.head_key(room_id) for room_id in room_ids]
    eventual = (room_items.ROOMS,) if late else ()
    items = dynamodb.batch_get({room_items.ROOMS: keys}, eventual=eventual)[room_items.ROOMS]
    return {item["room_id"]: Room(room_items.head_from_item(item)) for item in items if "ordinal" in item}


def _take_account(ctx: Context, answer: Answer, changes: account.Changes) -> None:
    """The user's own streams: account data, to-device messages, key counts."""
    positions = answer.positions
    positions.user, positions.device = changes.user_position, changes.device_position
    if changes.key_counts is not None:
        positions.one_time_keys, positions.fallback_keys = changes.key_counts
        before = ctx.base and (ctx.base.one_time_keys, ctx.base.fallback_keys)
        if before and before != (positions.one_time_keys, positions.fallback_keys):
            answer.sections["device_one_time_keys_count"] = positions.one_time_keys
    ctx.room_data = changes.by_room
    for item in changes.account_items:
        if item["type"] == IGNORED_USERS:
            positions.ignored = sorted(ignored_users(account_data.content_of(item)) - {ctx.user_id})
        elif item["type"] == INVITE_PERMISSION:
            positions.blocks_invites = blocks_invites(account_data.content_of(item))
    ctx.ignored = frozenset(positions.ignored)
    events = account.account_events(ctx, changes)
    if events:
        answer.sections["account_data"] = {"events": events}
    positions.unacknowledged = bool(changes.to_device)
    if changes.to_device:
        answer.sections["to_device"] = {"events": changes.to_device}
    if ctx.base is not None and ctx.reader is None:
        answer.device_lists.changed |= changes.own_devices


def _is_overlooked(room: Room | None, row: Membership, late: bool) -> bool:
    """Whether a late look doesn't show the room's log up to the user's leaving: the next one tells it."""
    if row.is_outside:
        return False
    return late and (room is None or room.head.ordinal < (row.ordinal or 0))


def _keep_untold(ctx: Context, answer: Answer, room_ids: Collection[str]) -> None:
    """Leave for the next look what changed of the user's data about rooms that this one leaves out."""
    untold = [item["seq"] for room_id in room_ids for item in ctx.room_data.get(room_id, ())]
    answer.positions.user = min([answer.positions.user, *(seq - 1 for seq in untold)])


def _add_joined(
    ctx: Context, answer: Answer, rooms: Sequence[tuple[Room, Membership]]
) -> tuple[set[str], dict[str, str]]:
    """The sections of joined rooms. Which were told of; the members whose presence changed, with a room."""
    told: set[str] = set()
    present: dict[str, str] = {}
    to_look_at = [(room, row) for room, row in rooms if joined.moved(ctx, room)]
    if ctx.reader is not None:
        wanted = [(room, row) for room, row in to_look_at if not _postponed(ctx, room, row)]
        if len(wanted) < len(to_look_at):
            answer.again_ms = ctx.now_ms + SETTLING_MS
        to_look_at = wanted
    if ctx.base is None and len(to_look_at) > 1:
        joined.read_ahead(ctx, [room for room, _ in to_look_at])
    calls = [functools.partial(joined.joined_room, ctx, room, row) for room, row in to_look_at]
    parts = concurrency.parallel(*calls)
    if ctx.reader is None and len(parts) > FEW_ROOMS:
        parts = _within(parts, MOST_BYTES)
    for (room, _), part in zip(to_look_at, parts, strict=True):
        if part is None:
            continue
        told.add(room.room_id)
        name = ctx.hash(room.room_id)
        answer.positions.rooms[name] = part.position
        answer.positions.typing_until_ms.pop(name, None)
        if part.typing_until_ms:
            answer.positions.typing_until_ms[name] = part.typing_until_ms
        answer.device_lists |= part.device_lists
        present |= part.presence
        if part.section is not None:
            answer.rooms.setdefault("join", {})[room.room_id] = part.section
    return told, present


def _within(parts: Sequence[joined.RoomPart | None], most: int) -> list[joined.RoomPart | None]:
    """The parts, but for those that are too much for one answer: they are left for the next look."""
    kept: list[joined.RoomPart | None] = []
    size = 0
    for part in parts:
        more = _answer_bytes(part.section) if part is not None and part.section is not None else 0
        fits = size == 0 or size + more <= most
        kept.append(part if fits else None)
        size += more if fits else 0
    return kept


def _answer_bytes(section: Mapping[str, Any]) -> int:
    """What a section takes of a function's answer, which is JSON with the body as a string in it."""
    text = json.dumps(section, separators=(",", ":"), ensure_ascii=False)
    return len(json.dumps(text, ensure_ascii=False).encode())


def _postponed(ctx: Context, room: Room, row: Membership) -> bool:
    """Whether the reader leaves the room for another look."""
    return ctx.reader is not None and ctx.reader.postpones(joined.known_position(ctx, room, row))


def _add_presence(ctx: Context, answer: Answer, told: Mapping[str, str], in_rooms: Collection[str]) -> None:
    if told or presence.overdue(ctx):
        events = presence.presence_events(ctx, answer.positions, told, in_rooms)
        if events:
            answer.sections["presence"] = {"events": events}


def _add_others(ctx: Context, answer: Answer, others: other_rooms.OtherRooms, rooms: dict[str, Room]) -> None:
    invited = [row for row in others.invited if row.sender not in ctx.ignored]
    if answer.positions.blocks_invites:
        invited = []
    for kind, rows in (("invite", invited), ("knock", others.knocked)):
        for row in rows:
            section = (
                ctx.reader.outside(row)
                if ctx.reader is not None
                else other_rooms.stripped_room(row, f"{kind}_state")
            )
            if section is not None:
                answer.rooms.setdefault(kind, {})[row.room_id] = section
    for row in (row for row in others.left if row.is_outside):
        section = ctx.reader.outside(row) if ctx.reader is not None else other_rooms.left_outside(ctx, row)
        if section is not None:
            answer.rooms.setdefault("leave", {})[row.room_id] = section
    left = [row for row in others.left if row.room_id in rooms and not row.is_outside]
    left_room = ctx.reader.left if ctx.reader is not None else other_rooms.left_room
    calls = [functools.partial(left_room, ctx, rooms[row.room_id], row) for row in left]
    for row, section in zip(left, concurrency.parallel(*calls), strict=True):
        name = ctx.hash(row.room_id)
        if section is not None:
            answer.rooms.setdefault("leave", {})[row.room_id] = section
        if ctx.reader is None and ctx.base is not None and name in ctx.base.rooms:
            answer.device_lists |= after_leaving(ctx, rooms[row.room_id])
        answer.positions.rooms.pop(name, None)
        answer.positions.typing_until_ms.pop(name, None)
