"""Applies other servers' updates of device lists to the lists that are tracked.

`m.device_list_update` is applied if it follows the last known update; otherwise the whole list is fetched.
`m.signing_key_update` replaces the cross-signing keys. Updates of other users are ignored.
https://spec.matrix.org/v1.19/server-server-api/#definition-mdevice_list_update
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from murmuration.aws import concurrency
from murmuration.federation.devices import resyncing
from murmuration.federation.devices.contents import (
    device_keys,
    display_name,
    is_stream_id,
    signing_key,
    with_few_bytes,
)
from murmuration.federation.devices.lists import finish_telling, keep
from murmuration.protocol.identifiers import (
    DeviceId,
    ServerName,
    UserId,
    is_compliant_user_of,
    is_valid_device_id,
)
from murmuration.storage.keys import remote_devices
from murmuration.storage.keys.remote_devices import DeviceList, RemoteDevices
from murmuration.storage.live.streams import pause

if TYPE_CHECKING:
    from murmuration.federation.inbound.transactions.edus import Contents
    from murmuration.protocol.encoding.shapes import Untrusted

Known = tuple[RemoteDevices, list[int]]
"""Devices, and the stream IDs of the updates that they include."""
Apply = Callable[[Known, "Untrusted"], Known | None]
ATTEMPTS = 10


def take_device_updates(origin: ServerName, contents: Contents) -> None:
    """Apply the `m.device_list_update`s of a server's users. One round trip if none of them is tracked."""
    _take(origin, contents, _with_update)


def take_signing_key_updates(origin: ServerName, contents: Contents) -> None:
    """Apply the `m.signing_key_update`s of a server's users. One round trip if none of them is tracked."""
    _take(origin, contents, _with_signing_keys)


def _take(origin: ServerName, contents: Contents, apply: Apply) -> None:
    by_user: dict[UserId, list[Untrusted]] = {}
    for content in contents:
        user_id = content.get("user_id")
        if is_compliant_user_of(user_id, origin):
            by_user.setdefault(user_id, []).append(content)
    tracked = remote_devices.read_lists(list(by_user)) if by_user else {}
    concurrency.parallel(
        *(functools.partial(_apply, found, by_user[user_id], apply) for user_id, found in tracked.items())
    )


def _apply(found: DeviceList, updates: Contents, apply: Apply) -> None:
    """Apply updates of one user in their order, or order that the whole list is fetched."""
    for attempt in range(ATTEMPTS):
        finish_telling(found)
        known = _after(found, updates, apply)
        if known is None:
            break
        content, stream_ids = known
        if (content, tuple(stream_ids)) == (found.content, found.stream_ids):
            return  # all updates were known
        if keep(found, content, stream_ids):
            return
        pause(attempt)
        newer = remote_devices.read_lists([found.user_id]).get(found.user_id)
        if newer is None:
            return
        found = newer
    resyncing.make_stale([found.user_id])


def _after(found: DeviceList, updates: Contents, apply: Apply) -> Known | None:
    """Return the list after the updates; None if it is stale, or an update is missing."""
    before = found.content if found.is_fresh else None
    if before is None:
        return None
    known: Known | None = (before, list(found.stream_ids))
    for update in updates:
        known = apply(known, update) if known is not None else None
    return known


def _with_update(known: Known, update: Untrusted) -> Known | None:
    """Return the list after one update of a device; None if the update doesn't follow the known ones.

    An update with a known ID is a repetition only if its content is known too. A server that was restored
    from a backup uses IDs again, for updates with other content. Some servers say only that something
    changed, by an update without keys or IDs before it, and with the same ID each time.
    """
    content, stream_ids = known
    stream_id, device_id, before = update.get("stream_id"), update.get("device_id"), update.get("prev_id")
    if not is_stream_id(stream_id) or not isinstance(device_id, str) or not is_valid_device_id(device_id):
        return None
    after = _with_device(content, device_id, update)
    if stream_id in stream_ids:
        return known if after == content and (before or device_id in after.devices) else None
    if not isinstance(before, list) or not before or any(each not in stream_ids for each in before):
        return None
    return after, [*stream_ids, int(str(stream_id))]


def _with_device(content: RemoteDevices, device_id: DeviceId, update: Untrusted) -> RemoteDevices:
    """Return the list with a device changed as an update says."""
    devices = {name: keys for name, keys in content.devices.items() if name != device_id}
    names = {name: shown for name, shown in content.names.items() if name != device_id}
    keys = device_keys(UserId(str(update["user_id"])), device_id, update.get("keys"))
    if update.get("deleted") is not True and keys is not None:
        devices[device_id] = keys
        if shown := display_name(update.get("device_display_name")):
            names[device_id] = shown
    return replace(content, devices=with_few_bytes(devices), names=names)


def _with_signing_keys(known: Known, update: Untrusted) -> Known | None:
    """Return the list after an update of the cross-signing keys. A new master key removes the old keys."""
    content, stream_ids = known
    user_id = UserId(str(update["user_id"]))
    master = signing_key(user_id, update.get("master_key"), "master")
    self_signing = signing_key(user_id, update.get("self_signing_key"), "self_signing")
    if master is None and self_signing is None:
        return None
    if master is not None:
        is_same = content.master is not None and content.master["keys"] == master["keys"]
        content = replace(content, master=master, self_signing=content.self_signing if is_same else None)
    if self_signing is not None:
        content = replace(content, self_signing=self_signing)
    return content, stream_ids
