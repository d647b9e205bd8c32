"""Looking up identity keys. https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from murmuration.identity.budgets import READ_UNIT
from murmuration.protocol.bodies import object_of, required, strings_of
from murmuration.protocol.encoding.shapes import Body, KeyObject
from murmuration.protocol.identifiers import DeviceId, ServerName, UserId, parse_user_id
from murmuration.protocol.sizes import LIST_BYTES, RawJson, encode
from murmuration.settings import settings
from murmuration.storage.keys import identity_keys
from murmuration.storage.keys.identity_keys import Identity, Signature, public_key

T = TypeVar("T")
READING_S = 12
"""The time in which keys for one answer must be read. API Gateway gives up after 29 s."""
QUERY_USER = 2 * READ_UNIT
"""The least cost of looking up one user."""


@dataclass(frozen=True, slots=True)
class FoundKeys:
    """Keys of users by user ID, in the form of the answer of /keys/query; keys of devices by device ID.

    `device_texts` are `device_keys` as JSON, which takes less memory. Each user is in one of the two.
    """

    device_keys: dict[UserId, dict[DeviceId, KeyObject]] = field(default_factory=dict)
    device_texts: dict[UserId, RawJson] = field(default_factory=dict)
    master_keys: dict[UserId, KeyObject] = field(default_factory=dict)
    self_signing_keys: dict[UserId, KeyObject] = field(default_factory=dict)
    user_signing_keys: dict[UserId, KeyObject] = field(default_factory=dict)


def parse_query(body: Body) -> dict[UserId, list[DeviceId]]:
    """Return the device IDs that `body["device_keys"]` names, by user. An empty list means all devices.

    Raises MissingParam, BadJson.
    """
    return {
        UserId(user_id): [DeviceId(each) for each in strings_of(device_ids, "The device IDs of a user")]
        for user_id, device_ids in object_of(required(body, "device_keys"), "device_keys").items()
    }


def split_by_server(
    wanted: Mapping[UserId, T],
) -> tuple[dict[UserId, T], dict[ServerName, dict[UserId, T]]]:
    """Return two parts of `wanted`: that of local users, and the rest by server. Raises InvalidParam for an
    invalid user ID.
    """
    own = settings().server_name
    by_server: dict[ServerName, dict[UserId, T]] = {}
    for user_id, value in wanted.items():
        by_server.setdefault(parse_user_id(user_id).server_name, {})[user_id] = value
    return by_server.pop(own, {}), by_server


def query_local(
    wanted: Mapping[UserId, Collection[DeviceId]],
    *,
    requester_id: UserId | None,
    most_bytes: int = LIST_BYTES,
    as_texts: bool = False,
) -> FoundKeys:
    """Return the keys of local users. If no devices are named for a user, all are included.

    The user-signing key and its signatures are only for the user themselves: other requesters, and other
    servers (`requester_id` None), don't get them. Unknown users and devices are left out. So are users whose
    keys don't fit into `most_bytes`, or can't be read in time: those with the most keys. With `as_texts`,
    devices are returned as JSON. One round trip, two if the requester has signed any of the master keys.
    """
    found = FoundKeys()
    others = [user_id for user_id in wanted if user_id != requester_id]
    signed = _signatures_on_others(requester_id, others)

    def show(identity: Identity) -> None:
        if identity.exists:
            _show(found, identity, wanted[identity.user_id], requester_id, as_texts=as_texts)

    identity_keys.show_fitting(list(wanted), most_bytes, show, lateness(READING_S))
    if requester_id is not None:
        add_signatures(found, signed, requester_id)
    return found


def lateness(seconds: float) -> Callable[[], bool]:
    """Return a function that returns whether this many seconds have passed since this call."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def _signatures_on_others(requester_id: UserId | None, others: list[UserId]) -> list[Signature]:
    return identity_keys.read_signatures_on_others(requester_id, others) if requester_id else []


def add_signatures(found: FoundKeys, signed: Sequence[Signature], requester_id: UserId) -> None:
    """Add the requester's signatures to the master keys of others that they have signed."""
    for signature in signed:
        master = found.master_keys.get(signature.user_id)
        if master is not None and public_key(master) == signature.key:
            found.master_keys[signature.user_id] = signature.add_to(master, requester_id)


def _show(
    found: FoundKeys,
    identity: Identity,
    device_ids: Collection[DeviceId],
    requester_id: UserId | None,
    *,
    as_texts: bool,
) -> None:
    user_id = identity.user_id
    devices = {
        device_id: _device(identity, device_id, keys)
        for device_id, keys in identity.devices.items()
        if not device_ids or device_id in device_ids
    }
    if as_texts:
        found.device_texts[user_id] = as_text(devices)
    else:
        found.device_keys[user_id] = devices
    for purpose, target in (
        ("master", found.master_keys),
        ("self_signing", found.self_signing_keys),
        ("user_signing", found.user_signing_keys),
    ):
        key = identity.cross_signing.get(purpose)  # type: ignore[call-overload]
        if key is not None and (purpose != "user_signing" or user_id == requester_id):
            target[user_id] = identity.with_signatures(public_key(key), key)


def as_text(devices: Mapping[DeviceId, KeyObject]) -> RawJson:
    """Return devices as JSON."""
    return RawJson("".join(encode(devices)))


def _device(identity: Identity, device_id: DeviceId, keys: KeyObject) -> KeyObject:
    name = identity.display_names.get(device_id)
    unsigned = {"device_display_name": name} if name else {}
    return {**identity.with_signatures(device_id, keys), "unsigned": unsigned}
