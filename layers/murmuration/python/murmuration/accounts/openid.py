"""OpenID tokens, with which users prove their identity to other services.

https://spec.matrix.org/v1.19/client-server-api/#openid
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.clock import now_ms
from murmuration.identity import rate_limits
from murmuration.identity.tokens import Requester, hash_secret, new_secret
from murmuration.protocol.encoding.shapes import Answer
from murmuration.protocol.errors import MissingToken, UnknownToken
from murmuration.settings import settings
from murmuration.storage.auth import user_tokens

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId

LIFETIME_S = 3600


def request_openid_token(requester: Requester, user_id: UserId) -> Answer:
    """Return a token that proves who the requester is, and nothing else.

    Raises Forbidden for another user, and LimitExceeded if the user has about 200 valid tokens.

    https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridopenidrequest_token
    """
    requester.require_self(user_id)
    rate_limits.check("openid_token", user_id)
    token = new_secret()
    expires_ms = now_ms() + LIFETIME_S * 1000
    user_tokens.create(user_tokens.OPENID, hash_secret(token), user_id, expires_ms=expires_ms)
    return {
        "access_token": token,
        "token_type": "Bearer",
        "matrix_server_name": settings().server_name,
        "expires_in": LIFETIME_S,
    }


def openid_user(token: str | None) -> UserId:
    """Return the user whom an OpenID token proves. Raises MissingToken, UnknownToken.

    https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1openiduserinfo
    """
    if not token:
        raise MissingToken("The query parameter access_token is missing")
    user_id = user_tokens.read(user_tokens.OPENID, hash_secret(token))
    if user_id is None:
        raise UnknownToken("The OpenID token is not known, or has expired")
    return user_id
