"""A client's /keys/query: local users' keys come from the tables, others from tracked lists or their servers.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from murmuration.aws import concurrency
from murmuration.federation.devices.failures import seconds_of
from murmuration.identity.tokens import Requester
from murmuration.keys.query import FoundKeys, add_signatures, parse_query, query_local, split_by_server
from murmuration.protocol.encoding.shapes import Answer, Body
from murmuration.protocol.identifiers import DeviceId, ServerName, UserId
from murmuration.storage.keys import identity_keys
from murmuration.storage.keys.remote_devices import RemoteDevices

if TYPE_CHECKING:
    from murmuration.federation.shapes import Failure

Wanted = Mapping[UserId, Collection[DeviceId]]


def query_keys(requester: Requester, body: Body) -> Answer:
    """Return the keys of the users and devices that `body["device_keys"]` names.

    A server that can't be asked is named in `failures`; keys of other servers are returned all the same.
    Raises MissingParam, BadJson, InvalidParam.
    """
    wanted = parse_query(body)
    seconds = seconds_of(body)
    local, by_server = split_by_server(wanted)
    found = query_local(local, requester_id=requester.user_id)
    failures: dict[str, Failure] = {}
    if by_server:
        failures = _add_remote(found, by_server, requester.user_id, seconds)
    return {
        "device_keys": found.device_keys,
        "master_keys": found.master_keys,
        "self_signing_keys": found.self_signing_keys,
        "user_signing_keys": found.user_signing_keys,
        "failures": failures,
    }


def _add_remote(
    found: FoundKeys, by_server: Mapping[ServerName, Wanted], requester_id: UserId, seconds: float
) -> dict[str, Failure]:
    """Add the keys of other servers' users; returns the failures by server."""
    from murmuration.federation.devices.lists import look_up

    users = {user_id: ids for wanted in by_server.values() for user_id, ids in wanted.items()}
    (lists, failures), signed = concurrency.gather(
        functools.partial(look_up, requester_id, by_server, seconds),
        functools.partial(identity_keys.read_signatures_on_others, requester_id, list(users)),
    )
    for user_id, content in lists.items():
        _show(found, user_id, content, users[user_id])
    add_signatures(found, signed, requester_id)
    return failures


def _show(
    found: FoundKeys, user_id: UserId, content: RemoteDevices, device_ids: Collection[DeviceId]
) -> None:
    found.device_keys[user_id] = {
        device_id: {**keys, "unsigned": _unsigned(content.names.get(device_id))}
        for device_id, keys in content.devices.items()
        if not device_ids or device_id in device_ids
    }
    if content.master is not None:
        found.master_keys[user_id] = content.master
    if content.self_signing is not None:
        found.self_signing_keys[user_id] = content.self_signing


def _unsigned(name: str | None) -> dict[str, str]:
    return {"device_display_name": name} if name else {}
