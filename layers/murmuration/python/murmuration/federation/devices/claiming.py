"""A client's /keys/claim: local devices' keys come from the tables, others from their servers.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysclaim
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from murmuration.aws import concurrency
from murmuration.federation.devices.failures import seconds_of
from murmuration.keys.claim import claim_local, parse_claims
from murmuration.keys.query import split_by_server
from murmuration.protocol.encoding.shapes import Answer, Body
from murmuration.protocol.identifiers import DeviceId, ServerName, UserId

if TYPE_CHECKING:
    from murmuration.federation.shapes import Failure
    from murmuration.protocol.encoding.shapes import KeyObject, Untrusted

MOST_KEY_BYTES = 8_192

Claims = Mapping[UserId, Mapping[DeviceId, str]]
Keys = dict[UserId, dict[DeviceId, "KeyObject"]]


def claim_keys(body: Body) -> Answer:
    """Return a key of each device that `body["one_time_keys"]` names, as the response.

    A server that can't be asked is named in `failures`. Raises MissingParam, BadJson, InvalidParam.
    """
    wanted = parse_claims(body)
    seconds = seconds_of(body)
    local, by_server = split_by_server(wanted)
    if not by_server:
        return {"one_time_keys": claim_local(local), "failures": {}}
    claimed, (remote, failures) = concurrency.gather(
        functools.partial(claim_local, local), functools.partial(_claim_remote, by_server, seconds)
    )
    return {"one_time_keys": {**claimed, **remote}, "failures": failures}


def _claim_remote(by_server: Mapping[ServerName, Claims], seconds: float) -> tuple[Keys, dict[str, Failure]]:
    """Return the keys that other servers gave, and the failures by server."""
    from murmuration.federation.devices.asking import ask_all

    keys: Keys = {}

    def take(users: Claims, answer: Untrusted) -> None:
        for user_id, by_device in users.items():
            for device_id, algorithm in by_device.items():
                key = _key(answer, user_id, device_id, algorithm)
                if key:
                    keys.setdefault(user_id, {})[device_id] = key

    failures = ask_all(by_server, ("user", "keys", "claim"), "one_time_keys", seconds, take)
    return keys, failures


def _key(answer: Untrusted, user_id: UserId, device_id: DeviceId, algorithm: str) -> KeyObject:
    """Return the key that an answer has for a device, by its ID; empty if it has none of that algorithm."""
    from murmuration.federation.devices.contents import fits, is_one_time_key

    value: Any = answer
    for name in ("one_time_keys", user_id, device_id):
        value = value.get(name) if isinstance(value, dict) else None
    if not isinstance(value, dict):
        return {}
    for key_id, key in value.items():
        if key_id.startswith(f"{algorithm}:") and is_one_time_key(key) and fits(key, MOST_KEY_BYTES):
            return {key_id: key}
    return {}
