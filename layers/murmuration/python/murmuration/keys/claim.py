"""Claiming one-time keys. https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysclaim"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from operator import itemgetter
from typing import Any, cast

from murmuration.aws import concurrency
from murmuration.identity.budgets import WRITE_UNIT, expect
from murmuration.protocol.bodies import object_of, required
from murmuration.protocol.encoding.shapes import Body
from murmuration.protocol.errors import BadJson
from murmuration.protocol.identifiers import DeviceId, UserId, is_namespaced_identifier, is_valid_device_id
from murmuration.storage.keys import one_time_keys

CLAIM = 10 * WRITE_UNIT
"""The cost of claiming one key: its deletion, its mark, and the device's counts in the device's stream."""


MOST_CLAIMS = 2_000
"""The most devices whose keys are claimed in one request."""


def parse_claims(body: Body) -> dict[UserId, dict[DeviceId, str]]:
    """Return the algorithm that `body["one_time_keys"]` names for each device, by user and device.

    Raises MissingParam, BadJson.
    """
    wanted = object_of(required(body, "one_time_keys"), "one_time_keys")
    for by_device in wanted.values():
        for algorithm in object_of(by_device, "The devices of a user").values():
            if not isinstance(algorithm, str):
                raise BadJson("An algorithm must be a string")
    return cast("dict[UserId, dict[DeviceId, str]]", wanted)


def claim_local(
    wanted: Mapping[UserId, Mapping[DeviceId, str]],
) -> dict[UserId, dict[DeviceId, dict[str, Any]]]:
    """Return a one-time or fallback key of each device, as `{user ID: {device ID: {key ID: key}}}`.

    `wanted` names an algorithm for each device. Devices without such a key are left out, and so are those
    beyond `MOST_CLAIMS`: each user's first devices come before anybody's second ones. Raises LimitExceeded.
    """
    numbered = [
        (number, (user_id, device_id, algorithm))
        for user_id, by_device in wanted.items()
        for number, (device_id, algorithm) in enumerate(by_device.items())
        if is_valid_device_id(device_id) and is_namespaced_identifier(algorithm)
    ]
    claims = [claim for _, claim in sorted(numbered, key=itemgetter(0))[:MOST_CLAIMS]]
    expect(len(claims) * CLAIM)
    found = concurrency.parallel(*(functools.partial(one_time_keys.claim, *claim) for claim in claims))
    keys: dict[UserId, dict[DeviceId, dict[str, Any]]] = {}
    for (user_id, device_id, algorithm), result in zip(claims, found, strict=True):
        if result is not None:
            key_id, key = result
            keys.setdefault(user_id, {})[device_id] = {f"{algorithm}:{key_id}": key}
    return keys
