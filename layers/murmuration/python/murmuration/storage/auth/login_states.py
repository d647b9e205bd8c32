"""Logins through an identity provider that aren't finished: items `sso#<hash>` of the table `transient`.

Only a hash of the state is stored, so reading the table isn't enough to finish anybody's login.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed, StoredItem
from murmuration.clock import now_ms

TABLE = "transient"
LIFETIME_S = 900


LoginPurpose = Mapping[str, str | bool | None]
"""The purpose of a login: `for` names the code that continues it, which also reads the other properties."""


@dataclass(frozen=True, slots=True)
class LoginState:
    """A login at an identity provider in progress: the request to the provider, and the purpose.

    `binding` is the hash of the browser's cookie; if it is empty, anyone who has the state may finish the
    login.
    """

    provider: str
    nonce: str
    verifier: str
    binding: str
    purpose: LoginPurpose


def create(state: str, pending: LoginState) -> None:
    dynamodb.execute(
        dynamodb.put(
            TABLE,
            {
                **_key(state),
                "provider": pending.provider,
                "nonce": pending.nonce,
                "verifier": pending.verifier,
                "binding": pending.binding,
                "purpose": json.dumps(pending.purpose, separators=(",", ":")),
                "expires": now_ms() // 1000 + LIFETIME_S,
            },
        )
    )


def read(state: str) -> LoginState | None:
    """Return the login with this state; None if it is unknown or expired."""
    return _parse(dynamodb.get(TABLE, _key(state)))


def take(state: str) -> LoginState | None:
    """Return what `read` returns, and delete it. Of several callers only one gets it."""
    try:
        deletion = dynamodb.delete(TABLE, _key(state), condition="attribute_exists(id)")
        return _parse(dynamodb.execute(deletion, returning="ALL_OLD"))
    except ConditionFailed:
        return None


def _parse(item: StoredItem | None) -> LoginState | None:
    if item is None or item["expires"] * 1000 <= now_ms():
        return None
    return LoginState(
        item["provider"], item["nonce"], item["verifier"], item["binding"], json.loads(item["purpose"])
    )


def _key(state: str) -> dict[str, str]:
    return {"id": f"sso#{hashlib.sha256(state.encode()).hexdigest()}"}
