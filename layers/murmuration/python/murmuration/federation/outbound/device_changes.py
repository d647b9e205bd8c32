"""Changes of local users' devices, for other servers, and which servers get them.

Each change of a device is an `m.device_list_update`. Its stream ID is the change's number in the user's log,
and it names the update before it. A server that was unreachable gets the newest change of each device; each
of these updates refers to the one before it, and the first to the last update that the server got. The
device's keys are read when the EDU is sent.
https://spec.matrix.org/v1.19/server-server-api/#device-management
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from murmuration.aws.dynamodb import StoredItem
from murmuration.keys.query import query_local
from murmuration.storage.keys import device_changes
from murmuration.storage.keys.device_changes import Change
from murmuration.storage.keys.device_lists import changes_in

if TYPE_CHECKING:
    from murmuration.federation.shapes import DeviceListUpdate, Edu, SigningKeyUpdate
    from murmuration.protocol.encoding.shapes import KeyObject
    from murmuration.protocol.identifiers import DeviceId, ServerName, UserId

MOST_EDU_BYTES = 9_000
"""The assumed size of one change: device keys have up to 4 KB, and signatures come in addition."""


def order_device_changes(items: Iterable[StoredItem]) -> None:
    """Queue EDUs about changes of devices, given new items of their users' streams.

    They go to all servers that share a room with the user.
    """
    found = [change for item in items if (change := changes_in(item)) is not None]
    if not found or not _federates():
        return
    from murmuration.clock import now_ms
    from murmuration.federation.outbound import pokes

    now = now_ms()
    for user_id, first, last in found:
        servers = servers_of(user_id)
        pokes.order(list(pokes.new_events(user_id, range(first, last + 1), servers, now)))


def _federates() -> bool:
    from murmuration.settings import settings

    return settings().federation


def servers_of(user_id: UserId) -> set[ServerName]:
    """Return the other servers that share a room with a local user."""
    import functools

    from murmuration.aws import concurrency
    from murmuration.storage.rooms import member_index, room_items
    from murmuration.storage.users import memberships

    rooms = memberships.read_joined_rooms(user_id)
    heads = room_items.read_heads(rooms).values() if rooms else ()
    federated = [head for head in heads if head.federated or not head.is_indexed]
    found = concurrency.parallel(*(functools.partial(member_index.read_servers, it) for it in federated))
    return {server for servers in found for server in servers}


def read_owed(server_name: ServerName, user_id: UserId, since: int) -> tuple[list[int], int]:
    """Return the numbers of the changes, from `since` on, that a server is to get, and the number to continue
    from.

    Only the newest change of each device counts. A server that shares no room with the user any more gets
    none.
    """
    from murmuration.federation.devices.sharing import shares_room

    changes = device_changes.read(user_id, since)
    if not changes or not shares_room(user_id, server_name):
        return [], since
    newest = {change.device_id: change.number for change in changes}
    return sorted(newest.values()), changes[-1].number + 1


def read_edus(user_id: UserId, numbers: Sequence[int], since: int) -> list[Edu]:
    """Return the EDUs of these changes, in order, for a server that got all changes before `since`."""
    if not numbers:
        return []
    first = since or numbers[0]
    changes = device_changes.read(user_id, first, numbers[-1])
    prev = next((change.prev for change in changes if change.device_id is not None), 0)
    wanted = frozenset(numbers)
    found = query_local({user_id: []}, requester_id=None)
    devices = found.device_keys.get(user_id, {})
    edus: list[Edu] = []
    for change in changes:
        if change.number not in wanted:
            continue
        if change.device_id is None:
            edus += _signing_key_updates(user_id, found.master_keys, found.self_signing_keys)
            continue
        keys = devices.get(change.device_id)
        edus.append(_device_update(user_id, change, change.device_id, prev, keys))
        prev = change.number
    return edus


def _device_update(
    user_id: UserId, change: Change, device_id: DeviceId, prev: int, keys: KeyObject | None
) -> Edu:
    content: DeviceListUpdate = {
        "user_id": user_id,
        "device_id": device_id,
        "stream_id": change.number,
        "prev_id": [prev],
    }
    if keys is None:
        content["deleted"] = True
    else:
        name = keys["unsigned"].get("device_display_name")
        content["keys"] = {field: value for field, value in keys.items() if field != "unsigned"}
        if name:
            content["device_display_name"] = name
    return {"edu_type": "m.device_list_update", "content": content}


def _signing_key_updates(
    user_id: UserId, masters: Mapping[UserId, KeyObject], self_signings: Mapping[UserId, KeyObject]
) -> list[Edu]:
    content: SigningKeyUpdate = {"user_id": user_id}
    if user_id in masters:
        content["master_key"] = masters[user_id]
    if user_id in self_signings:
        content["self_signing_key"] = self_signings[user_id]
    names = ("m.signing_key_update", "org.matrix.signing_key_update")
    return [{"edu_type": name, "content": content} for name in names] if len(content) > 1 else []
