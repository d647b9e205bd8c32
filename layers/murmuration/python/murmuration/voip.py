"""TURN servers for calls. https://spec.matrix.org/v1.19/client-server-api/#voice-over-ip"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING

from murmuration.aws.parameters import read_secret
from murmuration.clock import now_ms
from murmuration.protocol.encoding.shapes import Answer
from murmuration.settings import settings

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId

SECRET = "turn-secret"  # noqa: S105 - a parameter's name


def get_turn_server(user_id: UserId) -> Answer:
    """Return credentials for the deployment's TURN servers; an empty object if it has none.

    The TURN server shares a secret with this server and needs no account for each user: the username contains
    the time (seconds) at which it expires, the password is its HMAC-SHA1 under the secret.
    """
    config = settings()
    if not config.turn_uris:
        return {}
    username = f"{now_ms() // 1000 + config.turn_ttl}:{user_id}"
    secret = read_secret(config.parameter(SECRET))
    password = base64.b64encode(hmac.digest(secret.encode(), username.encode(), hashlib.sha1)).decode()
    return {
        "username": username,
        "password": password,
        "uris": list(config.turn_uris),
        "ttl": config.turn_ttl,
    }
