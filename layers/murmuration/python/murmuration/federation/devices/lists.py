"""Tracks the devices of other servers' users: fetched when a client asks, kept until something changes.

- The user whose client asks becomes an observer of the list. If the list is fresh, the answer comes from it;
  otherwise the remote user's server is asked. Its answer is stored only if the observer shares an encrypted
  room with the remote user, because only then does this server hear of changes.
- An update that follows the last one is applied at once. Any other makes the list stale, and a worker fetches
  all of it (`resyncing`).
- When the list has changed, each observer's devices are told, and their clients then ask for the list. An
  observer whose clients don't ask is told ten times, and only while they share an encrypted room with the
  remote user.

https://spec.matrix.org/v1.19/server-server-api/#device-management
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from murmuration.aws import concurrency
from murmuration.aws.reads import Batch
from murmuration.clock import now_ms
from murmuration.federation.devices.contents import from_query
from murmuration.federation.devices.sharing import sharing_encrypted_room
from murmuration.protocol.identifiers import DeviceId, ServerName, UserId
from murmuration.storage.keys import remote_devices
from murmuration.storage.keys.device_lists import record_private_change
from murmuration.storage.keys.remote_devices import DeviceList, Observer, RemoteDevices

if TYPE_CHECKING:
    from murmuration.federation.shapes import Failure
    from murmuration.protocol.encoding.shapes import Untrusted

FRESH_MS = 7 * 24 * 3_600_000
"""A list that got no update for this time is fetched again, because an update may have been lost."""
Wanted = Mapping[UserId, Collection[DeviceId]]


def look_up(
    requester_id: UserId, by_server: Mapping[ServerName, Wanted], seconds: float
) -> tuple[dict[UserId, bytes], dict[str, Failure]]:
    """Return the packed devices of other servers' users (`RemoteDevices.encode`), and the failures by server.

    If a user's server fails, the last known devices are returned. Takes one round trip for users whose lists
    are fresh and whom the requester observes already.
    """
    users = [user_id for wanted in by_server.values() for user_id in wanted]
    known = _observed(requester_id, users)
    now = now_ms()
    found = {
        user_id: one.packed
        for user_id, one in known.items()
        if one.packed is not None and one.is_fresh and one.confirmed_ms > now - FRESH_MS
    }
    asked = {
        server: missing
        for server, wanted in by_server.items()
        if (missing := [user_id for user_id in wanted if user_id not in found])
    }
    if not asked:
        return found, {}
    answers, failures = _ask(requester_id, asked, seconds)
    stale = {user_id: one.packed for user_id, one in known.items() if one.packed is not None}
    return {**stale, **found, **answers}, failures


def _observed(requester_id: UserId, users: Collection[UserId]) -> dict[UserId, DeviceList]:
    """Return the device lists of these users, and make the requester an observer of each."""
    batch = Batch()
    lists = batch.add_all([remote_devices.list_read(user_id) for user_id in users])
    watched = batch.add_all([remote_devices.observer_read(user_id, requester_id) for user_id in users])
    batch.fetch()
    known = {user_id: it.value for user_id, it in zip(users, lists, strict=True) if it.value is not None}
    unwatched = [
        user_id
        for user_id, it in zip(users, watched, strict=True)
        if not it.value and user_id in known and known[user_id].is_fresh
    ]
    if unwatched:
        concurrency.parallel(
            *(functools.partial(remote_devices.observe, it, requester_id) for it in unwatched)
        )
        known |= remote_devices.read_lists(unwatched)
    return known


def _ask(
    requester_id: UserId, asked: Mapping[ServerName, Collection[UserId]], seconds: float
) -> tuple[dict[UserId, bytes], dict[str, Failure]]:
    """Ask servers for the devices of these users. Returns the packed devices, and the failures by server.

    Stores the devices of those with whom the requester shares an encrypted room.
    """
    from murmuration.federation.devices.asking import ask_all

    users = [user_id for some in asked.values() for user_id in some]
    shared = sharing_encrypted_room(requester_id, users)

    def begin(user_id: UserId) -> DeviceList:
        remote_devices.observe(user_id, requester_id)
        return remote_devices.begin(user_id)

    begun = dict(
        zip(shared, concurrency.parallel(*(functools.partial(begin, it) for it in shared)), strict=True)
    )
    answers: dict[UserId, bytes] = {}

    def take(part: Wanted, answer: Untrusted) -> None:
        answers.update({user_id: from_query(user_id, answer).encode() for user_id in part})

    wanted: dict[ServerName, Wanted] = {
        server: {user_id: [] for user_id in some} for server, some in asked.items()
    }
    failures = ask_all(wanted, ("user", "keys", "query"), "device_keys", seconds, take)
    concurrency.parallel(
        *(
            functools.partial(_keep_packed, before, answers[user_id])
            for user_id, before in begun.items()
            if user_id in answers
        )
    )
    return answers, failures


def _keep_packed(before: DeviceList, packed: bytes) -> bool:
    return keep(before, RemoteDevices.decode(packed), ())


def keep(before: DeviceList, content: RemoteDevices, stream_ids: Sequence[int]) -> bool:
    """Store a server's answer, and tell the observers if it is new. Returns False if `before` is out of
    date.
    """
    # Until now nothing was stored, so clients may have been given devices that an update then changed.
    known = before.content
    untold = known != content if known is not None else before.revision > 0
    if not remote_devices.store(before, content, stream_ids, now_ms=now_ms(), untold=untold):
        return False
    if untold or before.is_untold:
        tell(before.user_id, before.revision + 1)
    return True


def tell(user_id: UserId, revision: int) -> None:
    """Tell the observers that a user's devices changed. Safe to repeat.

    An observer who was told before and hasn't asked since may share no room with the user any more. Such
    observers are removed.
    """

    def tell_one(observer: Observer) -> None:
        if observer.told and not sharing_encrypted_room(observer.user_id, [user_id]):
            remote_devices.dismiss(user_id, observer)
            return
        record_private_change(observer.user_id, user_id)
        remote_devices.note_observer_told(user_id, observer)

    observers = remote_devices.read_observers(user_id)
    concurrency.parallel(*(functools.partial(tell_one, each) for each in observers))
    remote_devices.note_told(user_id, revision)


def finish_telling(found: DeviceList) -> None:
    """Tell the remaining observers if a worker stopped halfway."""
    if found.is_untold:
        tell(found.user_id, found.revision)
