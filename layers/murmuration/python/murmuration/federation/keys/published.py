"""This server's own keys, in the form in which it publishes them.

After a rotation, the former key is listed among the current ones for a day, because running functions still
sign with it. https://spec.matrix.org/v1.19/server-server-api/#publishing-keys
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
"""Other servers fetch the keys again after half of this time, so a server whose clock is a day off doesn't
consider them expired."""


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
    """Return this server's keys for checking its own signatures, each valid for as long as other servers
    consider it valid.
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
