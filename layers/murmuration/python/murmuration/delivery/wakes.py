"""From changes in tables to those who wait for them: a ring for each wait, an order to push for each socket.

All of it is hints, and repeating one does no harm. Whoever waits registered before looking, so a change that
the look didn't see finds the registration.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from murmuration.aws import concurrency, queues
from murmuration.storage.keys import one_time_keys
from murmuration.storage.live import listeners, wake_queues
from murmuration.storage.live.listeners import Socket, Wait
from murmuration.storage.rooms import room_items
from murmuration.storage.rooms.local_members import members_at

PUSHES = "socket-pushes"
"""The queue of connections that may have something to be told."""
EVERY_DEVICE = ""


def wake_for_log_entries(items: Sequence[Mapping[str, Any]]) -> None:
    """Tell of events of rooms' logs, in order: the members, and those whose memberships they change.

    Of several events of a room the members at the last are told: who was one before, and isn't any more, is
    told by their own, unless that came of resolving forks. Nobody is told of what is filled in.
    """
    items = [item for item in items if "filled_below" not in item]
    users = {item["member"] for item in items if item.get("member")}
    resolved = {item["room_id"] for item in items if item.get("resolved")}
    states = {item["room_id"]: (item["room_id"], _root(item)) for item in items}
    of_resolved = {(item["room_id"], _root(item)) for item in items if item["room_id"] in resolved}
    for room_id, root in {*states.values(), *of_resolved}:
        users.update(members_at(room_id, root))
    wake({(user_id, EVERY_DEVICE) for user_id in users})


def wake_for_stream_items(items: Sequence[Mapping[str, Any]]) -> None:
    """Tell of changes in streams: a room's members, a user's devices, or one device.

    A device whose keys have changed is told how many it has now.
    """
    targets: set[tuple[str, str]] = set()
    for kind, owner in {tuple(item["stream_id"].split(":", 1)) for item in items if "seq" in item}:
        if kind == "room":
            head = room_items.read_head(owner)
            members = members_at(owner, head.state_root, head) if head is not None else ()
            targets |= {(user_id, EVERY_DEVICE) for user_id in members}
        elif kind == "user":
            targets.add((owner, EVERY_DEVICE))
        else:
            user_id, _, device_id = owner.partition("/")
            targets.add((user_id, device_id))
    wake(targets, keys=_changed_keys(items))


def _changed_keys(items: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
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


def wake(targets: Iterable[tuple[str, str]], *, keys: Mapping[tuple[str, str], str] | None = None) -> None:
    """Tell those among these (user, device) pairs who wait; EVERY_DEVICE stands for all of a user's.

    `keys` is what to tell devices of their keys.
    """
    wanted = set(targets)
    if not wanted:
        return
    items = listeners.read_items(sorted({user_id for user_id, _ in wanted}))

    def concerned(one: Wait | Socket) -> bool:
        return (one.user_id, EVERY_DEVICE) in wanted or (one.user_id, one.device_id) in wanted

    calls: list[Callable[[], None]] = []
    calls += [
        functools.partial(ring, wait, (keys or {}).get((wait.user_id, wait.device_id), ""))
        for wait in listeners.waits_in(items)
        if concerned(wait)
    ]
    calls += [
        functools.partial(order_push, socket.connection_id)
        for socket in listeners.sockets_in(items)
        if concerned(socket)
    ]
    concurrency.parallel(*calls)


def ring(wait: Wait, keys: str = "") -> None:
    """Ring, and only then forget the registration: who stops in between rings twice."""
    wake_queues.ring(wait.queue, wait.nonce, keys)
    listeners.settle(wait)


def order_push(connection_id: str, *, delay_s: int = 0) -> None:
    """Have a worker look whether there is something to tell a connection, at once or later."""
    queues.send(PUSHES, {"connection_id": connection_id}, delay_s=delay_s)


def order_leaving(user_id: str, connection_id: str, *, delay_s: int) -> None:
    """Have a worker note, later, that a connection which ended says nothing of its user any more."""
    queues.send(PUSHES, {"connection_id": connection_id, "user_id": user_id}, delay_s=delay_s)
