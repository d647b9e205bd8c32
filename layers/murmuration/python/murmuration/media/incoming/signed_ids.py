"""Media IDs that contain a proof, so that CloudFront's viewer function can tell who may upload to them.

A signed ID has 24 random characters, the second in which it expires (ten digits), and a signature of 22
characters. The signature covers the server's name, the rest of the ID, and the access token with which the ID
was created. The viewer function reads no table, but it sees the token of the request that uploads. So nobody
else can upload to the ID, although the ID itself may be in an event that a whole room has seen. A client
whose token was refreshed in between needs a new ID. `infra_shared/viewer.js` makes the same check.
"""

from __future__ import annotations

import hmac
import re
import secrets
from base64 import urlsafe_b64encode

KEY_LABEL = b"media uploads"
SIGNATURE_LENGTH = 22
_SIGNED = re.compile(r"([\w-]{24}(\d{10}))([\w-]{22})", re.ASCII)


def upload_key(viewer_secret: str) -> str:
    """Return the key of the signatures. It is derived from the viewer secret, which can't be computed from
    it.
    """
    digest = hmac.digest(viewer_secret.encode(), KEY_LABEL, "sha256")
    return urlsafe_b64encode(digest).decode().rstrip("=")


def new_signed_id(key: str, server_name: str, token: str, expires_s: int) -> str:
    """Return a new media ID to which a request with this access token may upload until it expires."""
    start = f"{secrets.token_urlsafe(18)}{expires_s:010d}"
    return start + _signature(key, server_name, start, token)


def expiry_of(media_id: str) -> int | None:
    """Return the second in which a signed ID expires; None for an ID of another form."""
    found = _SIGNED.fullmatch(media_id)
    return int(found[2]) if found else None


def is_signed_for(key: str, server_name: str, media_id: str, token: str) -> bool:
    """Return whether an ID was signed for this server and access token."""
    found = _SIGNED.fullmatch(media_id)
    return found is not None and hmac.compare_digest(
        found[3].encode(), _signature(key, server_name, found[1], token).encode()
    )


def _signature(key: str, server_name: str, start: str, token: str) -> str:
    signed = f"{server_name}\n{start}\n{token}".encode()
    digest = hmac.digest(key.encode(), signed, "sha256")
    return urlsafe_b64encode(digest).decode()[:SIGNATURE_LENGTH]
