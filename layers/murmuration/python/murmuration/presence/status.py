"""Changes of a user's presence: set by the user, by an open event stream, or by an action.

An open event stream counts for fifteen minutes. It is recorded again when less than eleven of them are left,
because a parked client calls no function for ten minutes. So being online costs at most one write in four
minutes, and going offline costs none: later readers find that the time is over.
https://spec.matrix.org/v1.19/client-server-api/#presence
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from murmuration.aws.dynamodb import StoredItem
from murmuration.cache import LruCache
from murmuration.clock import now_ms
from murmuration.protocol.errors import InvalidParam, Unavailable
from murmuration.protocol.identifiers import DeviceId, UserId
from murmuration.protocol.presence import (
    FREE_FOR_CHAT,
    HIDDEN,
    OFFLINE,
    ONLINE,
    Device,
    Presence,
    availability,
)
from murmuration.storage.live.new_entries import new_entries
from murmuration.storage.live.streams import pause
from murmuration.storage.users import presence

STAY_MS = 900_000
RENEWED_BELOW_MS = 660_000
ELSEWHERE, ELSEWHERE_MS, RENEWED_ELSEWHERE_BELOW_MS = DeviceId("elsewhere"), 1_800_000, 600_000
"""A remote user has one entry of this name instead of devices. The other two: how long it is valid, and how
little of that time must be left before the same presence renews it."""
LAST_ACTIVE_STEP_MS = 60_000
"""An action is recorded only if it is this much later than the recorded one."""
QUIET_MS = 300_000
"""After this long without actions, others are told of the next action at once. They are told of other actions
with the next change."""
MOST_STATUS_CHARACTERS = 1000
ATTEMPTS = 20
_OF = " "
"""The separator between a connection and its device in the name of the connection's entry."""
_acted: LruCache[str, int] = LruCache(1024)
"""When a user's last action was recorded, as far as this process knows."""


def set_status(user_id: UserId, device_id: DeviceId, state: str, status_msg: str | None) -> None:
    """Set the presence that a user chose on a device. Without a status message, the old message is removed.

    Raises InvalidParam for a message of more than MOST_STATUS_CHARACTERS.
    """
    if status_msg is not None and len(status_msg) > MOST_STATUS_CHARACTERS:
        raise InvalidParam(f"status_msg may have {MOST_STATUS_CHARACTERS} characters")

    def change(before: Presence, now: int) -> Presence:
        told = {
            name: replace(device, presence=state) if _is_of(name, (device_id,)) else device
            for name, device in before.devices.items()
        }
        after = _with_device(replace(before, devices=told), device_id, state, now)
        return replace(after, status_msg=status_msg, last_active_ms=_raised(before, after, now))

    _change(user_id, change)


def note_visit(user_id: UserId, device_id: DeviceId, wanted: str | None, item: StoredItem | None) -> bool:
    """Record that a device has an open event stream, if needed. Returns whether the user may just have come
    online.

    `wanted` is the presence to record for this device. None means that the API has no such parameter: then an
    offline user becomes online. A device that asks for offline doesn't make its user online, but its earlier
    presence stays until its time is over. Becoming online doesn't replace free_for_chat and hidden, which
    only the founding documents have, even if the device was away. `item` is the stored presence as it was a
    moment ago.
    """
    now, known = now_ms(), presence.from_item(item)
    if is_visit_noted(device_id, wanted, item):
        return False
    _change(user_id, lambda before, at: _visited(before, device_id, wanted, at), item)
    return not known.watches(now)


def is_visit_noted(device_id: DeviceId, wanted: str | None, item: StoredItem | None) -> bool:
    """Return whether `note_visit` would change nothing."""
    known = presence.from_item(item)
    return _visited(known, device_id, wanted, now_ms()) is known


def _visited(before: Presence, device_id: DeviceId, wanted: str | None, now: int) -> Presence:
    device = before.devices.get(device_id)
    current = device.presence if device is not None and device.until_ms > now else None
    state = wanted or (current if current not in (None, OFFLINE) else ONLINE) or ONLINE
    if wanted == OFFLINE and current not in (None, OFFLINE):
        return before
    if state == ONLINE and device is not None and device.presence in (FREE_FOR_CHAT, HIDDEN):
        state = device.presence
    if device is not None and state == current and device.until_ms - now >= RENEWED_BELOW_MS:
        return before
    after = _with_device(before, device_id, state, now)
    return replace(after, last_active_ms=_raised(before, after, now))


def stay(user_id: UserId, device_id: DeviceId, connection: str, until_ms: int) -> None:
    """Keep the user online by a connection until the connection's latest possible end.

    It doesn't replace free_for_chat and hidden, which only the founding documents have.
    """

    def change(before: Presence, now: int) -> Presence:
        said = [each.presence for name, each in before.devices.items() if _is_of(name, (device_id,))]
        state = next((each for each in (HIDDEN, FREE_FOR_CHAT) if each in said), ONLINE)
        after = _with_device(before, DeviceId(f"{connection}{_OF}{device_id}"), state, now, until_ms)
        return replace(after, last_active_ms=_raised(before, after, now))

    _change(user_id, change)


def leave(user_id: UserId, devices: Collection[str]) -> None:
    """Remove devices with their connections, or single connections, from a user's presence."""
    item = presence.read(user_id)
    before = presence.from_item(item)
    if any(_is_of(name, devices) for name in (*before.devices, *before.capabilities)):
        _change(user_id, lambda before, now: _without(before, devices, now), item)


def set_capabilities(user_id: UserId, device_id: DeviceId, sha256: str) -> None:
    """Store a device's capabilities, by their hash. Others are told if the hash is new for the user."""

    def change(before: Presence, _now: int) -> Presence:
        if before.capabilities.get(device_id) == sha256:
            return before
        return replace(before, capabilities={**before.capabilities, device_id: sha256})

    _change(user_id, change)


def note_action(user_id: UserId, at_ms: int) -> None:
    """Record that a user did something, such as sending a message; at most once a minute, and not if they are
    hidden.
    """
    if at_ms - (_acted.get(user_id) or 0) < LAST_ACTIVE_STEP_MS:
        return
    _acted.put(user_id, at_ms)

    def change(before: Presence, now: int) -> Presence:
        if at_ms - before.last_active_ms < LAST_ACTIVE_STEP_MS or before.own(now) == HIDDEN:
            return before
        return replace(before, last_active_ms=at_ms)

    item = presence.read(user_id)
    if item is not None:
        _change(user_id, change, item)


def note_sending(items: Iterable[StoredItem]) -> None:
    """Record the senders of new log entries as active, if the messages were sent from this server."""
    for entry in new_entries(items):
        if entry.is_sent_here and "state_key" not in (event := entry.fields):
            note_action(event["sender"], min(event["origin_server_ts"], now_ms()))


def note_elsewhere(user_id: UserId, state: str, status_msg: str | None, active_ms: int) -> None:
    """Store a remote user's presence, as their server reports it.

    It is valid for half an hour, unless the server repeats it.
    """

    def change(before: Presence, now: int) -> Presence:
        known = before.devices.get(ELSEWHERE)
        lasts = known is not None and known.until_ms - now >= RENEWED_ELSEWHERE_BELOW_MS
        is_active = active_ms - before.last_active_ms >= QUIET_MS
        if lasts and not is_active and (before.own(now), before.status_msg) == (state, status_msg):
            return before
        after = _with_device(before, ELSEWHERE, state, now, now + ELSEWHERE_MS)
        last_active_ms = max(before.last_active_ms, min(active_ms, now))
        return replace(after, status_msg=status_msg, last_active_ms=last_active_ms)

    _change(user_id, change)


def announce(user_id: UserId) -> None:
    """Show a user's presence again to everybody who may see it, for example after a change of the display
    name.
    """
    _change(user_id, lambda before, now: replace(before, changed_ms=now))


# -- Changing the item ---------------------------------------------------------------------------------------

_UNREAD: StoredItem = {}


def _change(
    user_id: UserId,
    make: Callable[[Presence, int], Presence],
    item: StoredItem | None = _UNREAD,
) -> None:
    """Store the presence that `make` returns. If others are to be told, it gets the time of the change.

    Does nothing if `make` returns the presence unchanged. Raises Unavailable if contention doesn't end.
    """
    for attempt in range(ATTEMPTS):
        if attempt or item is _UNREAD:
            item = presence.read(user_id)
        now, before = now_ms(), presence.from_item(item)
        after = make(before, now)
        if after is before:
            return
        if presence.save(user_id, item, _told(_pruned(after, now), before, now), now):
            return
        pause(attempt)
    raise Unavailable("The presence is being changed by many requests at once; try again")


def _told(after: Presence, before: Presence, now: int) -> Presence:
    """Return the presence with the time of a change that others see, and with what a returning user
    missed.
    """
    if after.watches(now) and not before.watches(now):
        away = max((device.until_ms for device in before.devices.values()), default=0)
        after = replace(after, came_ms=now, away_ms=away)
    differs = (
        after.shown(now) != before.shown(now)
        or after.status_msg != before.status_msg
        or set(after.capabilities.values()) != set(before.capabilities.values())
        or after.last_active_ms - before.last_active_ms > QUIET_MS
    )
    return replace(after, changed_ms=now) if differs else after


def _pruned(presence_: Presence, now: int) -> Presence:
    """Return the presence without expired devices. If all have expired, they stay, because their times say
    since when.
    """
    live = {name: device for name, device in presence_.devices.items() if device.until_ms > now}
    return replace(presence_, devices=live) if live else presence_


def _with_device(
    before: Presence, device_id: DeviceId, state: str, now: int, until_ms: int | None = None
) -> Presence:
    device = Device(state, until_ms if until_ms is not None else now + STAY_MS)
    return replace(before, devices={**before.devices, device_id: device})


def _without(before: Presence, devices: Collection[str], now: int) -> Presence:
    ended = {
        name: replace(device, until_ms=min(device.until_ms, now)) if _is_of(name, devices) else device
        for name, device in before.devices.items()
    }
    able = {name: sha256 for name, sha256 in before.capabilities.items() if name not in devices}
    return replace(before, devices=ended, capabilities=able)


def _is_of(name: str, gone: Collection[str]) -> bool:
    """Return whether an entry belongs to one of these devices or connections.

    A connection's entry also belongs to its device.
    """
    return name in gone or not set(gone).isdisjoint(name.split(_OF, 1))


def _raised(before: Presence, after: Presence, now: int) -> int:
    """Return when the user was last active: now, if they made themselves more available."""
    raised = availability(after.own(now)) > availability(before.own(now))
    return now if raised else before.last_active_ms
