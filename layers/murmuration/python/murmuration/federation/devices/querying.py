"""A client's /keys/query: local users' keys come from the tables, others from tracked lists or their servers.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from murmuration.aws import concurrency
from murmuration.federation.devices.failures import seconds_of
from murmuration.identity.budgets import expect
from murmuration.identity.tokens import Requester
from murmuration.keys.query import (
    QUERY_USER,
    FoundKeys,
    add_signatures,
    as_text,
    parse_query,
    query_local,
    split_by_server,
)
from murmuration.protocol.encoding.shapes import Answer, Body
from murmuration.protocol.identifiers import DeviceId, ServerName, UserId
from murmuration.protocol.sizes import Budget
from murmuration.storage.keys import identity_keys
from murmuration.storage.keys.remote_devices import RemoteDevices

if TYPE_CHECKING:
    from murmuration.federation.shapes import Failure

Wanted = Mapping[UserId, Collection[DeviceId]]
MOST_BYTES = 16_000_000
"""The most bytes in an answer for the keys of local users, and for those of other servers' users."""


def query_keys(requester: Requester, body: Body) -> Answer:
    """Return the keys of the users and devices that `body["device_keys"]` names.

    A server that can't be asked is named in `failures`; keys of other servers are returned all the same.
    Users whose keys don't fit into the answer are left out, those with most keys first. Clients query them
    again. Raises MissingParam, BadJson, InvalidParam, LimitExceeded, TooLarge.
    """
    wanted = parse_query(body)
    expect(QUERY_USER * len(wanted))
    seconds = seconds_of(body)
    local, by_server = split_by_server(wanted)
    found = query_local(local, requester_id=requester.user_id, most_bytes=MOST_BYTES, as_texts=True)
    failures: dict[str, Failure] = {}
    if by_server:
        failures = _add_remote(found, by_server, requester.user_id, seconds)
    return {
        "device_keys": found.device_texts,
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
    budget = Budget(MOST_BYTES)
    for user_id, packed in sorted(lists.items(), key=lambda each: len(each[1])):
        if not _show(found, user_id, RemoteDevices.decode(packed), users[user_id], budget):
            break
    add_signatures(found, signed, requester_id)
    return failures


def _show(
    found: FoundKeys,
    user_id: UserId,
    content: RemoteDevices,
    device_ids: Collection[DeviceId],
    budget: Budget,
) -> bool:
    """Add a user's keys if they fit, and return whether they do."""
    devices = as_text(
        {
            device_id: {**keys, "unsigned": _unsigned(content.names.get(device_id))}
            for device_id, keys in content.devices.items()
            if not device_ids or device_id in device_ids
        }
    )
    if not budget.take(len(devices.text.encode())):
        return False
    found.device_texts[user_id] = devices
    if content.master is not None:
        found.master_keys[user_id] = content.master
    if content.self_signing is not None:
        found.self_signing_keys[user_id] = content.self_signing
    return True


def _unsigned(name: str | None) -> dict[str, str]:
    return {"device_display_name": name} if name else {}
