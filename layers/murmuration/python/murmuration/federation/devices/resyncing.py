"""Fetches whole device lists from other servers, in the background, if they are known to be out of date.

The orders go through the queue of PDUs, in a group for each user, so only one worker at a time fetches a
user's list. A list that can't be fetched is parked, and a schedule tries again later.
https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING

from murmuration.aws import concurrency, queues
from murmuration.federation.devices.contents import from_device_list, from_query
from murmuration.federation.devices.lists import finish_telling, keep
from murmuration.federation.devices.sharing import sharing_encrypted_room
from murmuration.federation.inbound.transactions.queueing import QUEUE, group_of
from murmuration.federation.requests import client
from murmuration.federation.requests.errors import Refused, RequestFailed
from murmuration.protocol.errors import Forbidden
from murmuration.protocol.identifiers import server_of
from murmuration.storage.keys import remote_devices
from murmuration.storage.keys.remote_devices import RemoteDevices
from murmuration.storage.servers import parked_device_lists as parked

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId

SECONDS = 20.0
MOST_BYTES = 4_194_304
MOST_AT_ONCE = 200
ORDER = "device_list"
"""The field that marks a message of the queue as an order to fetch a device list."""


def order(user_ids: Iterable[UserId]) -> None:
    """Order workers to fetch the device lists of these users."""
    concurrency.parallel(*(functools.partial(_order, user_id) for user_id in user_ids))


def _order(user_id: UserId) -> None:
    queues.send(QUEUE, {ORDER: user_id}, group=group_of(f"devices {user_id}"), dedup=uuid.uuid4().hex)


def make_stale(user_ids: Iterable[UserId]) -> None:
    """Mark the tracked device lists of these users as stale, and order that their servers are asked."""
    users = list(user_ids)
    marked = concurrency.parallel(*(functools.partial(remote_devices.mark_stale, it) for it in users))
    order([user_id for user_id, is_tracked in zip(users, marked, strict=True) if is_tracked])


def retry_parked_lists() -> None:
    """Order new requests for the parked device lists that are due. Costs one small read if none is parked."""
    due = parked.read_due(MOST_AT_ONCE)
    order([user_id for user_id, due_ms in due if parked.postpone(user_id, due_ms)])


def resync(user_id: UserId) -> None:
    """Fetch a user's whole device list and store it, unless it is up to date. If that fails, the list is
    parked.
    """
    before = remote_devices.read_lists([user_id]).get(user_id)
    if before is not None:
        finish_telling(before)
    if before is None or before.is_fresh:
        parked.remove(user_id)
        return
    observers = remote_devices.read_observers(user_id)
    if not any(sharing_encrypted_room(each.user_id, [user_id]) for each in observers):
        remote_devices.forget(before, observers)
        parked.remove(user_id)
        return
    try:
        content, stream_id = _ask(user_id)
    except (RequestFailed, Forbidden):
        parked.park(user_id)
        return
    if keep(before, content, [] if stream_id is None else [stream_id]):
        parked.remove(user_id)
    else:
        order([user_id])  # an update arrived meanwhile that the answer may lack


def _ask(user_id: UserId) -> tuple[RemoteDevices, int | None]:
    """Ask the user's server for the devices, in one of two ways. Raises RequestFailed, Forbidden."""
    server = server_of(user_id)
    try:
        path = client.path("_matrix", "federation", "v1", "user", "devices", user_id)
        answer = client.request(server, "GET", path, seconds=SECONDS, max_bytes=MOST_BYTES)
        return from_device_list(user_id, answer)
    except Refused:
        path = client.path("_matrix", "federation", "v1", "user", "keys", "query")
        body = {"device_keys": {user_id: list[str]()}}
        answer = client.request(server, "POST", path, body=body, seconds=SECONDS, max_bytes=MOST_BYTES)
        return from_query(user_id, answer), None
