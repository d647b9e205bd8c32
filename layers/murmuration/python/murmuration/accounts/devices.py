"""A user's devices. https://spec.matrix.org/v1.19/client-server-api/#device-management"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from murmuration.accounts.interactive.interactive_auth import Attempt, reauthenticate
from murmuration.accounts.sessions import check_display_name
from murmuration.aws import concurrency
from murmuration.clock import now_ms
from murmuration.identity.tokens import Requester
from murmuration.protocol.errors import BadJson, Forbidden, MissingParam, NotFound, TooLarge
from murmuration.storage.live import streams
from murmuration.storage.users import accounts, delayed_events, pushers

if TYPE_CHECKING:
    from murmuration.accounts.shapes import ClientDevice, ClientDevices
    from murmuration.protocol.encoding.shapes import Answer, Body
    from murmuration.protocol.identifiers import DeviceId, UserId
    from murmuration.storage.json_types import DeviceItem

MOST = 200
"""How many devices a user may have."""
UNUSED_MS = 30 * 86_400_000
"""A device that made no request for this time may be deleted to make room for a new one."""


def get_devices(requester: Requester) -> ClientDevices:
    """Return the requester's devices.

    https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devices
    """
    return {"devices": [_client_device(item) for item in accounts.read_devices(requester.user_id)]}


def get_device(requester: Requester, device_id: DeviceId) -> ClientDevice:
    """Return one of the requester's devices. Raises NotFound.
    https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devicesdeviceid
    """
    item = accounts.read_device(requester.user_id, device_id)
    if item is None:
        raise NotFound("There is no such device")
    return _client_device(item)


def update_device(requester: Requester, device_id: DeviceId, body: Body) -> Answer:
    """Rename a device. No other user is told. Raises NotFound, BadJson, InvalidParam.

    https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3devicesdeviceid
    """
    name = body.get("display_name")
    if name is None:
        get_device(requester, device_id)
        return {}
    if not isinstance(name, str):
        raise BadJson("display_name must be a string")
    check_display_name(name)
    if not accounts.update_device(requester.user_id, device_id, {"display_name": name}):
        raise NotFound("There is no such device")
    _record_change(requester.user_id, [device_id], quiet=True)
    return {}


def delete_device(requester: Requester, device_id: DeviceId, attempt: Attempt) -> Answer:
    """Delete one device, after the user has authenticated again. A missing device is not an error.

    Raises UserInteractiveAuthRequired and what `reauthenticate` raises.
    https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3devicesdeviceid
    """
    reauthenticate(attempt, requester.user_id)
    remove_devices(requester.user_id, [device_id])
    return {}


def delete_devices(requester: Requester, attempt: Attempt) -> Answer:
    """Delete the devices that the body lists, as `delete_device` does. Also raises MissingParam, BadJson.

    https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3delete_devices
    """
    device_ids = attempt.body.get("devices")
    if device_ids is None:
        raise MissingParam("devices is missing")
    if not isinstance(device_ids, list) or not all(isinstance(each, str) for each in device_ids):
        raise BadJson("devices must be a list of device IDs")
    reauthenticate(attempt, requester.user_id)
    remove_devices(requester.user_id, device_ids)
    return {}


def logout(requester: Requester) -> Answer:
    """Delete the requester's device.

    https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logout
    """
    remove_devices(requester.user_id, [requester.device_id], is_revoked=False)
    return {}


def logout_all(requester: Requester) -> Answer:
    """Delete all devices, the requester's last, so that the request can be repeated if it stopped halfway.

    https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logoutall
    """
    remove_all_devices(requester.user_id, last=requester.device_id)
    return {}


def remove_all_devices(user_id: UserId, *, spare: str | None = None, last: DeviceId | None = None) -> None:
    """Delete a user's devices except `spare`. The device `last` is deleted after all others."""
    found = [accounts.device_id_of(item) for item in accounts.read_devices(user_id)]
    remove_devices(user_id, [each for each in found if each not in (spare, last)])
    if last is not None:
        remove_devices(user_id, [last])


def remove_devices(user_id: UserId, device_ids: Iterable[DeviceId], *, is_revoked: bool = True) -> None:
    """Delete devices with their tokens, keys, pushers and messages. Missing devices are not an error.

    `is_revoked` is False if the device logged itself out. If a device is revoked, its scheduled events are
    cancelled, except those that only remove state about its own user.

    A device's data is deleted before the device, so a repetition after an interruption still finds the
    device. The data is deleted once more afterwards, because a device can upload keys until it is gone.
    """
    known = {accounts.device_id_of(item) for item in accounts.read_devices(user_id)}
    doomed = [each for each in dict.fromkeys(device_ids) if each in known]
    if not doomed:
        return
    _purge(user_id, doomed, is_revoked)
    _record_change(user_id, doomed)
    _end_presence(user_id, doomed)
    _end_typing(user_id, doomed)
    accounts.delete_device_items(user_id, doomed)
    _purge(user_id, doomed, is_revoked)
    # wakes waiting clients, so that they learn that they are logged out
    streams.nudge(streams.user_stream(user_id))


def _purge(user_id: UserId, device_ids: Sequence[DeviceId], is_revoked: bool) -> None:
    concurrency.parallel(
        functools.partial(pushers.remove_of_devices, user_id, device_ids),
        *([functools.partial(delayed_events.cancel_of_devices, user_id, device_ids)] if is_revoked else []),
        *(functools.partial(accounts.purge_device_data, user_id, each) for each in device_ids),
    )


def make_room(user_id: UserId) -> None:
    """Delete devices that haven't been used for long, the oldest first, if one more device would be too many.

    Concurrent logins may each exceed the limit by one; the next login corrects that. Raises TooLarge if all
    devices are in use.
    """
    found = accounts.read_devices(user_id)
    excess = len(found) + 1 - MOST
    if excess <= 0:
        return
    used_ms = {accounts.device_id_of(item): _last_used_ms(item) for item in found}
    unused = sorted(
        (each for each, at in used_ms.items() if at <= now_ms() - UNUSED_MS), key=used_ms.__getitem__
    )
    if len(unused) < excess:
        raise TooLarge(f"An account may have {MOST} devices: log out of some that you don't use")
    remove_devices(user_id, unused[:excess])


def _last_used_ms(item: DeviceItem) -> int:
    return int(item.get("last_seen_ms", item.get("created_ms", 0)))


def prepare_device_id(user_id: UserId, device_id: DeviceId) -> None:
    """Prepare the use of a device ID that a client chose: delete what an earlier device of this ID left
    behind.

    Raises Forbidden if the ID is that of a cross-signing key.
    """
    from murmuration.storage.keys.identity_keys import public_key, read_identities

    (identity,) = read_identities([user_id])
    if device_id in map(public_key, identity.cross_signing.values()):
        raise Forbidden("The device ID is that of a cross-signing key")
    accounts.purge_device_data(user_id, device_id)


def _end_presence(user_id: UserId, device_ids: Sequence[DeviceId]) -> None:
    from murmuration.presence.status import leave

    leave(user_id, device_ids)


def _end_typing(user_id: UserId, device_ids: Sequence[DeviceId]) -> None:
    from murmuration.rooms.ephemeral.typing import end_on_devices

    end_on_devices(user_id, device_ids)


def _record_change(user_id: UserId, device_ids: Sequence[DeviceId], *, quiet: bool = False) -> None:
    from murmuration.storage.keys.device_lists import record_change

    record_change(user_id, devices=device_ids, quiet=quiet)


def _client_device(item: DeviceItem) -> ClientDevice:
    device: ClientDevice = {"device_id": accounts.device_id_of(item)}
    if (name := item.get("display_name")) is not None:
        device["display_name"] = name
    if (address := item.get("last_seen_ip")) is not None:
        device["last_seen_ip"] = address
    if (seen_ms := item.get("last_seen_ms")) is not None:
        device["last_seen_ts"] = seen_ms
    return device
