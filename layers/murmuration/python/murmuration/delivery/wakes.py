"""From changes in tables to those who wait for them: a ring for each wait, an order to push for each socket.

All of it is hints, and repeating one does no harm. Whoever waits registered before looking, so a change that
the look didn't see finds the registration.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any

from murmuration.aws import concurrency, queues
from murmuration.clock import now_ms
from murmuration.identity.budgets import WAKE, charge
from murmuration.storage.keys import one_time_keys
from murmuration.storage.live import listeners, wake_queues
from murmuration.storage.live.listeners import Socket, Wait
from murmuration.storage.rooms import room_items
from murmuration.storage.rooms.local_members import members_at
from murmuration.storage.rooms.member_index import is_local
from murmuration.storage.users.account_data import FULLY_READ

EPHEMERAL_ROOM = 10
"""Members of a room up to which typing, receipts and presence ring those who wait.

In a larger room they come with the next news. To ring everybody would cost more than the messages do.
"""
DIRECT_ROOM = 2
"""Members of a room up to which receipts ring at once."""
LATE_S = 15
"""How much later a ring comes for what isn't urgent, unless another comes first and brings it."""
PUSHES = "socket-pushes"
"""The queue of connections that may have something to be told."""
EVERY_DEVICE = ""
Target = tuple[str, str]
"""A user ID, and a device ID or EVERY_DEVICE."""


def wake_for_log_entries(items: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Tell of events of rooms' logs, in order: the members, and those whose memberships they change.

    Of several events of a room the members at the last are told: who was one before, and isn't any more, is
    told by their own, unless that came of resolving forks. Nobody is told of what is filled in.
    Returns those of them who have pushers.
    """
    items = [item for item in items if "filled_below" not in item]
    causes: dict[Target, str | None] = {
        (item["member"], EVERY_DEVICE): _sender(item.get("json")) for item in items if item.get("member")
    }
    senders = {item["room_id"]: _sender(item.get("json")) for item in items}
    resolved = {item["room_id"] for item in items if item.get("resolved")}
    states = {item["room_id"]: (item["room_id"], _root(item)) for item in items}
    of_resolved = {(item["room_id"], _root(item)) for item in items if item["room_id"] in resolved}
    for room_id, root in {*states.values(), *of_resolved}:
        for user_id in members_at(room_id, root):
            causes.setdefault((user_id, EVERY_DEVICE), senders[room_id])
    return wake(causes)


class Urgency(IntEnum):
    """When those who wait are told of a change: not by itself, LATE_S later at most, or at once.

    `CONNECTIONS` is late for connections alone: a mark, or a wait that is held, ends in time by itself.
    """

    NEVER = 0
    CONNECTIONS = 1
    LATE = 2
    NOW = 3


def wake_for_stream_items(items: Sequence[Mapping[str, Any]]) -> None:
    """Tell of changes in streams: a room's members, a user's devices, or one device.

    A change that is quiet rings nobody; `_urgency` says when the others ring. A device whose keys have
    changed is told how many it has now.
    """
    told: dict[Urgency, dict[Target, str | None]] = {urgency: {} for urgency in Urgency}
    by_stream: dict[str, list[Mapping[str, Any]]] = {}
    for item in items:
        if "seq" in item and not item.get("quiet"):
            by_stream.setdefault(item["stream_id"], []).append(item)
    for name, changes in by_stream.items():
        kind, _, owner = name.partition(":")
        if kind == "room":
            users, urgency = _to_tell(owner, changes)
            targets = [(user_id, EVERY_DEVICE) for user_id in users]
        elif kind == "user":
            targets, urgency = [(owner, EVERY_DEVICE)], max(_urgency(item, 1) for item in changes)
        else:
            user_id, _, device_id = owner.partition("/")
            targets, urgency = [(user_id, device_id)], Urgency.NOW
        cause = _cause(changes[-1], owner if kind == "user" else None)
        for target in targets:
            told[urgency].setdefault(target, cause)
    wake(
        told[Urgency.NOW],
        late=told[Urgency.LATE],
        connections_late=told[Urgency.CONNECTIONS],
        keys=_changed_keys(items),
    )


def _to_tell(room_id: str, changes: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], Urgency]:
    """The members of a room who are told of changes in its stream, and when."""
    head = room_items.read_head(room_id)
    urgency = max(_urgency(item, head.joined) for item in changes) if head is not None else Urgency.NEVER
    if head is None or urgency is Urgency.NEVER:
        return (), Urgency.NEVER
    return members_at(room_id, head.state_root, head), urgency


def _urgency(item: Mapping[str, Any], joined: int) -> Urgency:
    """When a change in the stream of a room with so many members rings, or 1 for a user's own stream.

    A receipt or a presence is looked at now and then, and is good for as long. Typing is over in seconds.
    That it has stopped comes with the message that was typed; without one, a mark ends when typing would.
    """
    if item["sk"] == "typing":
        if joined > EPHEMERAL_ROOM:
            return Urgency.NEVER
        return Urgency.NOW if item.get("user_id") in item["users"] else Urgency.CONNECTIONS
    if item["sk"].startswith("presence#"):
        return Urgency.LATE if joined <= EPHEMERAL_ROOM else Urgency.NEVER
    if "receipt_type" in item:
        if joined > EPHEMERAL_ROOM:
            return Urgency.NEVER
        return Urgency.NOW if joined == DIRECT_ROOM else Urgency.LATE
    return Urgency.LATE if item.get("type") == FULLY_READ else Urgency.NOW


def _cause(item: Mapping[str, Any], owner: str | None) -> str | None:
    """The user who caused a change in a stream: its item names them, or the sender of its message."""
    if "event" in item:
        return _sender(item["event"])
    if item["sk"].startswith("presence#"):
        return str(item["sk"]).partition("#")[2]
    return str(item["user_id"]) if "user_id" in item else owner


def _sender(encoded: str | None) -> str | None:
    """The sender of an event in JSON."""
    return json.loads(encoded).get("sender") if encoded else None


def _changed_keys(items: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """What rings say of devices' keys, by (user, device), where these items have new counts of them."""
    newest: dict[str, Mapping[str, Any]] = {}
    for item in items:
        if item.get("sk") == one_time_keys.COUNTS_KEY and "one_time" in item:
            known = newest.get(item["stream_id"])
            if known is None or known["seq"] < item["seq"]:
                newest[item["stream_id"]] = item
    found = {}
    for stream, item in newest.items():
        user_id, _, device_id = stream.partition(":")[2].partition("/")
        found[user_id, device_id] = wake_queues.encode_keys(
            one_time_keys.shown(one_time_keys.counts_of(item))
        )
    return found


def _root(item: Mapping[str, Any]) -> bytes | None:
    """The state that the room was in when an event came; None where the event may have changed all of it."""
    return None if item.get("resolved") else item.get("room_root") or item["state_root"]


def wake(
    causes: Mapping[Target, str | None],
    *,
    late: Mapping[Target, str | None] | None = None,
    connections_late: Mapping[Target, str | None] | None = None,
    keys: Mapping[Target, str] | None = None,
) -> frozenset[str]:
    """Tell those among these (user, device) pairs who wait; EVERY_DEVICE stands for all of a user's.

    Those in `late` are rung LATE_S later, unless they are in `causes` or such a ring is on its way; of those
    in `connections_late` only the connections are looked at. All have the user who caused it for each, if
    that is known: they pay for each device that is rung. `keys` is what to tell devices of their keys.
    Returns the users who have pushers.
    """
    late = late or {}
    of_connections = {**(connections_late or {}), **late}
    if not causes and not of_connections:
        return frozenset()
    items = listeners.read_items(sorted({user_id for user_id, _ in (*causes, *of_connections)}))
    rung: Counter[str] = Counter()
    calls: list[Callable[[], None]] = []

    def concerns(one: Wait | Socket, targets: Mapping[Target, str | None]) -> bool:
        return any((one.user_id, device) in targets for device in (EVERY_DEVICE, one.device_id))

    def note(one: Wait | Socket, targets: Mapping[Target, str | None]) -> None:
        every, single = (one.user_id, EVERY_DEVICE), (one.user_id, one.device_id)
        if cause := targets[every if every in targets else single]:
            rung[cause] += 1

    for wait in listeners.waits_in(items):
        if concerns(wait, causes):
            told = (keys or {}).get((wait.user_id, wait.device_id), "")
            note(wait, causes)
            calls.append(functools.partial(ring, wait, told))
        elif concerns(wait, late) and wait.kept and not wait.late:
            note(wait, late)
            calls.append(functools.partial(ring_late, wait))
    connected: list[str] = []
    for socket in listeners.sockets_in(items):
        if concerns(socket, causes):
            note(socket, causes)
            connected.append(socket.connection_id)
        elif concerns(socket, of_connections) and not socket.late:
            note(socket, of_connections)
            calls.append(functools.partial(push_late, socket))
    if connected:
        calls.append(functools.partial(order_pushes, connected))
    concurrency.parallel(*calls)
    for cause, devices in rung.items():
        if is_local(cause):
            charge(cause, devices * WAKE)
    return listeners.with_pushers(items)


def ring(wait: Wait, keys: str = "") -> None:
    """Ring, and only then forget the registration: who stops in between rings twice."""
    wake_queues.ring(wait.queue, wait.nonce, keys)
    listeners.settle(wait)


def ring_late(wait: Wait) -> None:
    """Order a ring for later, and note that it's on its way. What is urgent still rings at once.

    A wait that is held isn't rung so: it is over sooner, and the next one begins with a look.
    """
    wake_queues.ring(wait.queue, wait.nonce, delay_s=LATE_S)
    listeners.note_late(wait)


def push_late(socket: Socket) -> None:
    """Order a later look for updates of a connection, and note the order."""
    order_push(socket.connection_id, delay_s=LATE_S)
    listeners.note_late_push(socket, now_ms() // 1000 + LATE_S)


def order_push(connection_id: str, *, delay_s: int = 0) -> None:
    """Have a worker look whether there is something to tell a connection, at once or later."""
    queues.send_later(PUSHES, {"connection_id": connection_id}, delay_s)


def order_pushes(connection_ids: Sequence[str]) -> None:
    """Have workers look whether there is something to tell connections, ten each."""
    queues.send_each(PUSHES, [{"connection_id": connection_id} for connection_id in connection_ids])


def order_leaving(user_id: str, connection_id: str, *, delay_s: int) -> None:
    """Have a worker note, later, that a connection which ended says nothing of its user any more."""
    queues.send_later(PUSHES, {"connection_id": connection_id, "user_id": user_id}, delay_s)
