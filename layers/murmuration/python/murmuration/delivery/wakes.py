"""Turns changes in tables into wake-ups of waiting clients: a ring for each wait, an order to push for each
socket.

A wake-up is only a hint, and repeating one does no harm. A client registers before it looks, so if its look
misses a change, the wake-up for the change finds the registration.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, NotRequired, TypedDict

from murmuration.aws import concurrency, queues
from murmuration.clock import now_ms
from murmuration.identity.budgets import REMOTE_WAKE, WAKE, affords, charge, rings_owner
from murmuration.protocol.event_types import FULLY_READ
from murmuration.protocol.identifiers import DeviceId, RoomId, ServerName, UserId, server_of
from murmuration.storage.keys import device_lists, one_time_keys
from murmuration.storage.live import listeners, receipts, streams, wake_queues
from murmuration.storage.live.listeners import EVERYTHING, MOST_TOPICS, Socket, Wait
from murmuration.storage.live.new_entries import NewEntry, new_entries
from murmuration.storage.live.streams import Change
from murmuration.storage.live.typing_users import typing_among
from murmuration.storage.rooms import room_items
from murmuration.storage.rooms.local_members import members_at
from murmuration.storage.rooms.member_index import is_local
from murmuration.storage.users import presence

if TYPE_CHECKING:
    from murmuration.aws.dynamodb import StoredItem

EPHEMERAL_ROOM = 10
"""The largest number of members for which typing, receipts and presence ring waiting clients.

In a larger room they come with the next ring for another reason. To ring everybody would cost more than the
messages do.
"""
DIRECT_ROOM = 2
"""The largest number of members for which receipts ring at once."""
LATE_S = 15
"""How many seconds later a ring comes that isn't urgent, unless another ring comes earlier."""
PUSHES = "socket-pushes"
"""The queue of connections that may have updates to send."""
EVERY_DEVICE = DeviceId("")
Call = Callable[[], None]
Target = tuple[UserId, DeviceId]
"""A user ID, and a device ID or EVERY_DEVICE."""


class SocketPush(TypedDict):
    """A message of the queue PUSHES.

    It has a user ID if the connection has ended, and rooms if nothing else has updates.
    """

    connection_id: str
    user_id: NotRequired[UserId]
    rooms: NotRequired[list[RoomId]]


def wake_for_log_entries(items: Sequence[StoredItem]) -> frozenset[UserId]:
    """Wake the members of rooms with new events, and the users whose memberships the events change.

    If a room has several new events, those are woken who are members after the last one. A user who left is
    woken because of the leave event, unless it came from resolving forks. Events that fill gaps wake nobody.
    Returns the woken users who have pushers.
    """
    entries = [entry for entry in new_entries(items) if not entry.is_past]
    causes: dict[Target, UserId | None] = {
        (entry.member, EVERY_DEVICE): entry.sender for entry in entries if entry.member is not None
    }
    news = {target: {EVERYTHING} for target in causes}
    senders = {entry.room_id: entry.sender for entry in entries}
    resolved = {entry.room_id for entry in entries if entry.is_resolved}
    states = {entry.room_id: (entry.room_id, entry.root) for entry in entries}
    of_resolved = {(entry.room_id, entry.root) for entry in entries if entry.room_id in resolved}
    of_keys = {entry.room_id for entry in entries if _may_concern_keys(entry)}
    concerned = set(causes)
    for room_id, root in {*states.values(), *of_resolved}:
        for user_id in members_at(room_id, root):
            target = (user_id, EVERY_DEVICE)
            causes.setdefault(target, senders[room_id])
            news.setdefault(target, set()).add(room_id)
            if room_id in of_keys:
                concerned.add(target)
    return wake(causes, news=news, not_of_keys=causes.keys() - concerned)


def _may_concern_keys(entry: NewEntry) -> bool:
    """Return whether an event may change for which users a member has to know the keys. A message
    never does.
    """
    return entry.is_resolved or not entry.fields or "state_key" in entry.fields


class Urgency(IntEnum):
    """When waiting clients are told of a change: not at all, within LATE_S, or at once."""

    NEVER = 0
    LATE = 1
    NOW = 2


def wake_for_stream_items(items: Sequence[StoredItem]) -> None:
    """Wake clients for changes in streams: a room's members, all devices of a user, or one device.

    A quiet change rings nobody; `_urgency` says when the others ring. If a device's keys have changed, the
    ring brings it the new counts.
    """
    told: dict[Urgency, dict[Target, UserId | None]] = {urgency: {} for urgency in Urgency}
    concerned: set[Target] = set()
    news: dict[Target, set[str]] = {}
    by_stream: dict[str, list[Change]] = {}
    for change in streams.changes_among(items):
        if not change.quiet:
            by_stream.setdefault(change.stream, []).append(change)
    for changes in by_stream.values():
        kind, owner = changes[0].kind, changes[0].owner
        if kind == "room":
            users, urgency = _to_tell(RoomId(owner), changes)
            targets = [(user_id, EVERY_DEVICE) for user_id in users]
        elif kind == "user":
            targets, urgency = [(UserId(owner), EVERY_DEVICE)], max(_urgency(change, 1) for change in changes)
        else:
            user_id, _, device_id = owner.partition("/")
            targets, urgency = [(UserId(user_id), DeviceId(device_id))], Urgency.NOW
        cause = _cause(changes[-1], UserId(owner) if kind == "user" else None)
        for target in targets:
            told[urgency].setdefault(target, cause)
            news.setdefault(target, set()).add(owner if kind == "room" else EVERYTHING)
        if kind != "room" or any(change.key.startswith(device_lists.PREFIX) for change in changes):
            concerned.update(targets)
    wake(
        told[Urgency.NOW],
        late=told[Urgency.LATE],
        not_of_keys=told[Urgency.NOW].keys() - concerned,
        keys=_changed_keys(items),
        news=news,
    )


def _to_tell(room_id: RoomId, changes: Sequence[Change]) -> tuple[tuple[UserId, ...], Urgency]:
    """Return the members of a room who are told of changes in its stream, and when each is told."""
    head = room_items.read_head(room_id)
    urgency = max(_urgency(each, head.joined) for each in changes) if head is not None else Urgency.NEVER
    if head is None or urgency is Urgency.NEVER:
        return (), Urgency.NEVER
    return members_at(room_id, head.state_root, head), urgency


def _urgency(change: Change, joined: int) -> Urgency:
    """Return when a change in a stream rings; `joined` is the number of the room's members, 1 for a user's
    stream.

    Receipts and presence stay useful for a while, so they wait. Typing is useful for seconds only. The end of
    typing mostly comes together with the message, and then one ring serves both.
    """
    if typing_among([change.item]) is not None:
        return Urgency.NOW if joined <= EPHEMERAL_ROOM else Urgency.NEVER
    if presence.user_of(change.item) is not None:
        return Urgency.LATE if joined <= EPHEMERAL_ROOM else Urgency.NEVER
    if receipts.is_receipt(change.item):
        if joined > EPHEMERAL_ROOM:
            return Urgency.NEVER
        return Urgency.NOW if joined == DIRECT_ROOM else Urgency.LATE
    return Urgency.LATE if change.data_type == FULLY_READ else Urgency.NOW


def _cause(change: Change, owner: UserId | None) -> UserId | None:
    """Return the user who caused a change in a stream: its item names them, or the sender of its message."""
    if change.event is not None:
        sender: UserId | None = json.loads(change.event).get("sender")
        return sender
    return presence.user_of(change.item) or change.user_id or owner


def _changed_keys(items: Sequence[StoredItem]) -> dict[Target, str]:
    """Return, by (user, device), the new counts of keys that the device's ring brings."""
    return {
        device: wake_queues.encode_keys(one_time_keys.shown(counts))
        for device, counts in one_time_keys.newest_counts(items).items()
    }


@dataclass(frozen=True, slots=True)
class _Ring:
    """A client to wake: who caused it, and how to wake it now or later. None means that this isn't possible.

    If a `wait` is rung now, it has to be settled afterwards, with the rooms that caused the ring (`news`).
    """

    cause: UserId | None
    now: Call | None
    late: Call | None
    wait: Wait | None = None
    news: Collection[str] = ()


def wake(
    causes: Mapping[Target, UserId | None],
    *,
    late: Mapping[Target, UserId | None] | None = None,
    keys: Mapping[Target, str] | None = None,
    not_of_keys: Collection[Target] = (),
    news: Mapping[Target, Collection[str]] | None = None,
) -> frozenset[UserId]:
    """Wake those of these (user, device) pairs that wait. EVERY_DEVICE stands for all of a user's devices.

    `causes` has the pairs to ring now, `late` those to ring LATE_S later unless they are in `causes` too or a
    late ring is on its way. Their values are the users who caused the change, if known: they pay for each
    device that is rung. `keys` has the key counts to send to devices. `news` has the rooms that concern a
    pair, if nothing else does: its clients look only at these rooms.

    A wait for key counts alone isn't rung late, nor for the pairs of `causes` that are in `not_of_keys`. If a
    device registers again before its ring is noted, it is rung once more. Returns the users who have pushers.
    """
    changes = _Changes(causes, late or {}, keys or {}, not_of_keys, news or {})
    users = changes.users()
    if not users:
        return frozenset()
    items = listeners.read_items(users)
    plan = _Plan(changes)
    for wait in listeners.current_waits(items):
        plan.add_wait(wait)
    for socket in listeners.sockets_in(items):
        plan.add_socket(socket)
    missed = plan.carry_out()
    if missed:
        again: dict[Target, UserId | None] = {(wait.user_id, wait.device_id): None for wait in missed}
        wake(again, news={(wait.user_id, wait.device_id): changes.rooms_for(wait) for wait in missed})
    return listeners.with_pushers(items)


@dataclass(frozen=True, slots=True)
class _Changes:
    """The changes to wake clients for, as `wake` gets them. `now` are its `causes`."""

    now: Mapping[Target, UserId | None]
    late: Mapping[Target, UserId | None]
    keys: Mapping[Target, str]
    not_of_keys: Collection[Target]
    news: Mapping[Target, Collection[str]]

    def users(self) -> list[UserId]:
        return sorted({user_id for user_id, _ in (*self.now, *self.late)})

    def ring_now(self, client: Wait | Socket) -> bool:
        return any(target in self.now for target in _targets_of(client))

    def ring_late(self, client: Wait | Socket) -> bool:
        return any(target in self.late for target in _targets_of(client))

    def concern_keys_of(self, wait: Wait) -> bool:
        """Return whether a wait for key counts alone has to be rung."""
        return any(target in self.now and target not in self.not_of_keys for target in _targets_of(wait))

    def cause_for(self, client: Wait | Socket) -> UserId | None:
        """Return the user who pays for ringing a client, if known."""
        told = self.now if self.ring_now(client) else self.late
        every, single = _targets_of(client)
        return told[every if every in told else single]

    def rooms_for(self, client: Wait | Socket) -> set[str]:
        """Return the rooms that a client has to look at; EVERYTHING if the changes aren't only in rooms."""
        concerned = [target for target in _targets_of(client) if target in self.now or target in self.late]
        return {room for target in concerned for room in self.news.get(target, (EVERYTHING,))}


def _targets_of(client: Wait | Socket) -> tuple[Target, Target]:
    """Return the pairs that name a client: the one of all its user's devices, and the one of its device."""
    return (client.user_id, EVERY_DEVICE), (client.user_id, client.device_id)


class _Plan:
    """How the clients are woken that changes concern: by rings, notes for clients whose ring is on its way,
    and orders to push.
    """

    def __init__(self, changes: _Changes) -> None:
        self._changes = changes
        self._rings: list[_Ring] = []
        self._notes: list[Call] = []
        self._connected: list[SocketPush] = []
        self._missed: list[Wait] = []

    def add_wait(self, wait: Wait) -> None:
        """Add the ring of a wait, now or late; a note if it was rung or its late ring is on its way."""
        changes, news = self._changes, self._changes.rooms_for(wait)
        note = self._again_unless(_note_if_new, wait, news)
        later = note if wait.late or not wait.kept else self._again_unless(ring_late, wait, news)
        if wait.rung:
            self._notes.append(note)
        elif wait.of_keys and not changes.concern_keys_of(wait):
            return
        elif changes.ring_now(wait):
            self._rings.append(_Ring(changes.cause_for(wait), self._ring_of(wait, news), later, wait, news))
        elif changes.ring_late(wait) and later is note:
            self._notes.append(note)
        elif changes.ring_late(wait):
            self._rings.append(_Ring(changes.cause_for(wait), None, later))

    def add_socket(self, socket: Socket) -> None:
        """Add the order to push to a connection, now or late."""
        changes = self._changes
        later = functools.partial(push_late, socket) if not socket.late else None
        if changes.ring_now(socket):
            push: SocketPush = {"connection_id": socket.connection_id}
            if named := _named_rooms(changes.rooms_for(socket)):
                push["rooms"] = named
            now = functools.partial(self._connected.append, push)
            self._rings.append(_Ring(changes.cause_for(socket), now, later))
        elif changes.ring_late(socket) and later is not None:
            self._rings.append(_Ring(changes.cause_for(socket), None, later))

    def carry_out(self) -> list[Wait]:
        """Make the notes and rings. Returns the waits that have to be rung once more."""
        concurrency.parallel(*self._notes)
        self._missed += _ring_all(self._rings)
        order_pushes(self._connected)
        return self._missed

    def _ring_of(self, wait: Wait, news: Collection[str]) -> Call:
        """Return the call that rings a wait now, with its device's key counts.

        The ring of a held wait names the rooms, because its reader looks without registering again.
        """
        counts = self._changes.keys.get((wait.user_id, wait.device_id), "")
        named = () if wait.kept else _named_rooms(news)
        return functools.partial(wake_queues.ring, wait.queue, wait.nonce, counts, rooms=named)

    def _again_unless(
        self, work: Callable[[Wait, Collection[str]], bool], wait: Wait, news: Collection[str]
    ) -> Call:
        """Return a call of `work` that has the wait rung once more if it returns False."""

        def call() -> None:
            if not work(wait, news):
                self._missed.append(wait)

        return call


def _named_rooms(news: Collection[str]) -> list[RoomId]:
    """Return the rooms to name to a function that looks for updates; none if it has to look at everything."""
    return [] if EVERYTHING in news or len(news) > MOST_TOPICS else [RoomId(each) for each in sorted(news)]


def _note_if_new(wait: Wait, news: Collection[str]) -> bool:
    """Note further rooms for a device whose ring is on its way, if its client has to look at more because of
    them.

    Returns False if the device has registered again, so that it has to be rung.
    """
    if not wait.is_last or wait.news.issuperset(news) or EVERYTHING in wait.news:
        return True
    return listeners.note_news(wait, news)


def _ring_all(rings: Sequence[_Ring]) -> list[Wait]:
    """Ring clients, and charge those who caused it: local users, and the servers of other users.

    If a server has spent its budget for rings, its users' changes ring late. The waits of one user are rung
    and settled together. Returns the waits that have to be rung again (`listeners.settle`).
    """
    spent = _servers_without_budget(rings)
    rung: Counter[UserId] = Counter()
    calls: list[Call] = []
    of_users: dict[UserId, list[_Ring]] = {}
    for each in rings:
        is_over = each.cause is not None and server_of(each.cause) in spent
        call = each.late if is_over or each.now is None else each.now
        if call is not None:
            if call is each.now and each.wait is not None:
                of_users.setdefault(each.wait.user_id, []).append(each)
            else:
                calls.append(call)
            if each.cause and is_local(each.cause):
                rung[each.cause] += 1
    missed: list[Wait] = []
    calls += [functools.partial(_ring_together, some, missed) for some in of_users.values()]
    concurrency.parallel(*calls)
    for cause, devices in rung.items():
        charge(cause, devices * WAKE)
    return missed


def _servers_without_budget(rings: Sequence[_Ring]) -> set[ServerName]:
    """Return the servers that can't pay for the rings that their users cause now."""
    causes = [ring.cause for ring in rings if ring.now and ring.cause and not is_local(ring.cause)]
    devices = Counter(server_of(cause) for cause in causes)
    return {
        server for server, count in devices.items() if not affords(rings_owner(server), count * REMOTE_WAKE)
    }


def _ring_together(rings: Sequence[_Ring], missed: list[Wait]) -> None:
    """Ring one user's waits, and then note that they were rung. If this stops in between, they are only rung
    twice.

    Adds to `missed` the waits that registered again meanwhile: they have to be rung for that.
    """
    for each in rings:
        if each.now is not None:
            each.now()
    missed += listeners.settle([(each.wait, each.news) for each in rings if each.wait is not None])


def ring_late(wait: Wait, news: Collection[str] = (EVERYTHING,)) -> bool:
    """Send a late ring, and note that it is on its way. Urgent changes still ring at once.

    A held wait isn't rung late: the change is only noted, and its client's next request looks at that room.
    Returns what `listeners.note_late` returns.
    """
    wake_queues.ring(wait.queue, wait.nonce, delay_s=LATE_S)
    return listeners.note_late(wait, now_ms() // 1000 + LATE_S, news)


def push_late(socket: Socket) -> None:
    """Order a later look for a connection's updates, and note that it is on its way."""
    order_push(socket.connection_id, delay_s=LATE_S)
    listeners.note_late_push(socket, now_ms() // 1000 + LATE_S)


def order_push(connection_id: str, *, delay_s: int = 0) -> None:
    """Have a worker check whether there is something to send to a connection, at once or later."""
    queues.send_later(PUSHES, {"connection_id": connection_id}, delay_s)


def order_pushes(pushes: Sequence[SocketPush]) -> None:
    """Have workers check whether there is something to send to connections, ten for each worker."""
    queues.send_each(PUSHES, pushes)


def order_leaving(user_id: UserId, connection_id: str, *, delay_s: int) -> None:
    """Have a worker note later that a connection has ended, so that its user's presence ends too."""
    queues.send_later(PUSHES, {"connection_id": connection_id, "user_id": user_id}, delay_s)
