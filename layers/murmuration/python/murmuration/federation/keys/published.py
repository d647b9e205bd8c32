"""This server's own keys, as it publishes them.

A former key stays among the current ones for a day after a rotation, as functions that run still sign with
it. https://spec.matrix.org/v1.19/server-server-api/#publishing-keys
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration import server_keys
from murmuration.clock import now_ms
from murmuration.protocol.pdus.keys import VerifyKey, build_server_keys
from murmuration.settings import settings

if TYPE_CHECKING:
    from murmuration.protocol.pdus.shapes import KeyDocument

VALIDITY_MS = 48 * 3_600_000
"""Others fetch the keys anew when half of it is over; a clock that is a day off doesn't find them expired."""


def get_server_keys() -> KeyDocument:
    """Return the signed document of this server's keys."""
    server_keys.renew()
    now = now_ms()
    current, former = [server_keys.signing_key()], []
    for key, until_ms in server_keys.former_keys():
        if until_ms > now:
            current.append(key)
        else:
            former.append(VerifyKey(key.key_id, key.public_key, expired_ts=until_ms))
    return build_server_keys(settings().server_name, current, now + VALIDITY_MS, former)


def own_keys() -> list[VerifyKey]:
    """Return this server's keys, to check its own signatures: each is valid for as long as other servers
    take it to be.
    """
    now, valid = now_ms(), now_ms() + VALIDITY_MS
    current = server_keys.signing_key()
    return [
        VerifyKey(current.key_id, current.public_key, valid_until_ts=valid),
        *(
            VerifyKey(key.key_id, key.public_key, valid_until_ts=valid)
            if until_ms > now
            else VerifyKey(key.key_id, key.public_key, expired_ts=until_ms)
            for key, until_ms in server_keys.former_keys()
        ),
    ]
