"""Waiting for updates: register a wait, look at everything, then wait on a queue.

A client that registers before looking misses nothing: a change is either found by that look, or written after
the registration, so that the Streams worker finds the registration and rings. A ring is only a hint: a
client's updates always come from a look. Each wait has its own queue, one of its device's slots, so no other
wait can take its ring; a registration is good for one ring.
"""

from __future__ import annotations

import hmac
import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from murmuration.aws.dynamodb import StoredItem
from murmuration.clock import now_ms
from murmuration.identity.tokens import AccessToken, Requester
from murmuration.protocol.errors import LimitExceeded
from murmuration.server_keys import derived_key
from murmuration.storage.live import listeners, wake_queues
from murmuration.storage.live.listeners import Wait
from murmuration.storage.live.positions import Positions
from murmuration.storage.live.wake_queues import Heard
from murmuration.sync.marks import SHORTEST_TIMEOUT_MS, Place

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId

SLOTS = 10
"""The number of slots of each kind for a device.

If all parked slots are taken, a function holds the wait; one parked slot is taken for each time that a ring
came within the last 90 s. If all held slots are taken too, the request doesn't wait.
"""
HELD_BY_USER = 16
"""How many functions all devices of a user together may hold by waiting."""
ATTEMPTS = 2 * SLOTS
LEAST_STANDING_S = 120
"""How much of a parked wait's time must be left for its client to continue it."""
RETRY_AFTER_MS = 5_000
"""When a request that found no free slot should come again."""
MAXIMUM_TIMEOUT_MS = 25_000
"""The longest time that a request is held. API Gateway gives up after 29 s."""

Kind = Literal["held", "parked"]


def deadline_of(timeout_ms: int) -> float:
    """Return until when a request that begins now may be held, in seconds of the monotonic clock."""
    return time.monotonic() + min(timeout_ms, MAXIMUM_TIMEOUT_MS) / 1000


def check_empty_answer(timeout_ms: int, *, has_waited: bool) -> None:
    """Raise LimitExceeded unless a request that found no free slot may get an empty answer.

    It may if it has waited already, or asked for a short wait only. Other clients would ask again at once.
    """
    if not has_waited and timeout_ms >= SHORTEST_TIMEOUT_MS:
        raise LimitExceeded("Too many requests wait for news on this device", retry_after_ms=RETRY_AFTER_MS)


def register(
    requester: Requester,
    item: StoredItem | None,
    kind: Kind,
    seconds: float,
    *,
    letter: str = "",
    doubtful: bool = False,
) -> Wait | None:
    """Register a wait for the requester's device. Returns None if it may not wait.

    It may not if no slot of the device is free, or if functions hold `HELD_BY_USER` waits of the user. The
    latter is checked in the item after the write, so concurrent requests can't exceed it together. `item` is
    the user's listeners as they were a moment ago. One write, or more after a lost race. If the queue's
    existence is `doubtful`, it is checked and created again if it is gone. `letter` is the prefix of the
    slots' names.
    """
    secret = derived_key("wake queues")
    until, letter = int(now_ms() / 1000 + seconds) + 1, letter or kind[0]
    for attempt in range(ATTEMPTS):
        taken = listeners.taken_slots(item, requester.device_id)
        free = [slot for number in range(SLOTS) if (slot := f"{letter}{number}") not in taken]
        if not free or (kind == "held" and listeners.held_waits(item) >= HELD_BY_USER):
            return None
        slot = free[0] if attempt == 0 else random.choice(free)
        queue = wake_queues.queue_id(secret, requester.user_id, requester.device_id, slot)
        wait = Wait(
            requester.user_id,
            requester.device_id,
            slot,
            wake_queues.ensure(
                queue,
                known=listeners.last_queue(item, requester.device_id, slot),
                doubtful=doubtful,
                lazily=kind == "held",
            ),
            wake_queues.new_nonce(kept=kind == "parked"),
            until,
            kept=kind == "parked",
        )
        done, item = listeners.register(wait, item)
        if done and kind == "held" and listeners.held_waits(item) > HELD_BY_USER:
            listeners.release(wait)
            return None
        if done:
            return replace(wait, next_slot=_next_slot(item, wait))
    return None


@dataclass(frozen=True, slots=True)
class Registered:
    """A new registration, and the rooms that rang the last one; None if any room may have updates."""

    wait: Wait
    news: frozenset[RoomId] | None


def register_next(token: AccessToken, place: Place, seconds: float) -> Registered | None:
    """Register a wait on the slot that the last one named, before the requester is verified.

    A held wait takes the slot of the last one. Returns None if `place` isn't one of this device's (only the
    device got the queue's name), if the slot isn't free, or if functions hold `HELD_BY_USER` waits of the
    user. One write, in parallel with the first reads. A parked wait's queue is created if it was never used.
    """
    if not _is_own(place, token):
        return None
    secret, owner = derived_key("wake queues"), (token.user_id, token.device_id)
    kept = not place.is_held
    slot = _slot_after(place) if kept else place.slot
    queue = wake_queues.queue_id(secret, *owner, slot)
    url = wake_queues.url_if_known(queue) or wake_queues.ensure(queue, lazily=not kept)
    until = int(now_ms() / 1000 + seconds) + 1
    wait = Wait(*owner, slot, url, wake_queues.new_nonce(kept=kept), until, kept=kept)
    done, before = listeners.register_unseen(wait, "" if kept else place.nonce)
    if not done:
        return None
    others = {name: value for name, value in before.items() if name != wait.attribute}
    if not kept and listeners.held_waits(others) >= HELD_BY_USER:
        listeners.release(wait)
        return None
    wake_queues.ensure(queue, known=listeners.last_queue(before, token.device_id, slot), lazily=not kept)
    wait = replace(wait, next_slot=_next_slot(before, wait))
    return Registered(wait, listeners.news_since(before, token.device_id, place.slot, place.nonce))


def _slot_after(place: Place) -> str:
    """Return the slot for the next registration of a parked client."""
    letter, number = place.slot[0], int(place.slot[1:])
    return place.next_slot or f"{letter}{(number + 1) % SLOTS}"


def _next_slot(item: StoredItem | None, wait: Wait) -> str:
    """Return the first free slot besides the one just taken, for a parked wait; empty for a held one.

    Using few slots keeps the item small.
    """
    if not wait.kept:
        return ""
    taken = {*listeners.taken_slots(item, wait.device_id), wait.slot}
    free = [slot for number in range(SLOTS) if (slot := f"{wait.slot[0]}{number}") not in taken]
    return free[0] if free else ""


def _is_own(place: Place, token: AccessToken) -> bool:
    """Return whether a place belongs to this device; only the device got the queue's name."""
    queue = wake_queues.queue_id(derived_key("wake queues"), token.user_id, token.device_id, place.slot)
    return hmac.compare_digest(place.queue, queue)


def standing(
    token: AccessToken, item: StoredItem | None, place: Place, *, of_keys: bool = False
) -> Wait | None:
    """Return the wait that still stands where a device was parked; None if it was rung, or ends soon.

    A wait that is only rung for keys is returned only if `of_keys` is true. `item` is the user's listeners as
    they were a moment ago. If the wait has been rung since then, the client still finds the ring: it stays in
    the queue for longer than this request takes plus the longest time before a client comes back.
    """
    there = (token.device_id, place.slot)
    waits = (
        each for each in listeners.waits_in([item] if item else []) if (each.device_id, each.slot) == there
    )
    wait = next((each for each in waits if each.kept and not each.late), None)
    if wait is None or wait.until < now_ms() // 1000 + LEAST_STANDING_S or not _is_own(place, token):
        return None
    if wait.of_keys and not of_keys:
        return None
    return wait if wake_queues.id_of(wait.queue) == place.queue else None


def ensure_place(token: AccessToken, place: Place) -> None:
    """Create the queue of a device's place again if it is gone, because its client was refused there."""
    if _is_own(place, token):
        wake_queues.ensure(place.queue, known=wake_queues.url_if_known(place.queue), doubtful=True)


def ensure_queue(wait: Wait) -> None:
    """Create the queue of a wait again if it is gone, because its client was called without updates."""
    wake_queues.ensure(wake_queues.id_of(wait.queue), known=wait.queue, doubtful=True)


class Held(NamedTuple):
    """The end of a hold.

    `goes_on` says that another look is worthwhile. `wait` is the wait if it is still valid: a ring uses it
    up. `rooms` are the only rooms that rang; empty if anything may have updates.
    """

    goes_on: bool
    wait: Wait | None
    rooms: frozenset[RoomId]


def hold(wait: Wait, changes_ms: int, deadline: float) -> Held:
    """Hold a request until a ring, a change that comes merely because time passes, or the deadline
    (monotonic).

    `changes_ms` is since the epoch, 0 for never.
    """
    seconds = deadline - time.monotonic()
    if changes_ms:
        seconds = min(seconds, max(0.0, (changes_ms - now_ms()) / 1000))
    heard = wake_queues.wait(wait.queue, wait.nonce, seconds) if seconds > 0 else Heard()
    goes_on = bool(heard.what) or time.monotonic() < deadline
    return Held(goes_on, None if heard.what == "ring" else wait, heard.rooms)


def typing_end_ms(positions: Positions) -> int:
    """Return when the first shown typing notification ends by itself; 0 if there is none."""
    return min((until for until in positions.typing_until_ms.values() if until > 0), default=0)
