"""Publish cross-signing keys.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysdevice_signingupload
"""

from __future__ import annotations

from murmuration.accounts.interactive.interactive_auth import Attempt, reauthenticate
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.keys.cross_signing import upload_cross_signing_keys


@endpoint(
    "POST",
    "/_matrix/client/{version}/keys/device_signing/upload",
    versions=(*CLIENT_VERSIONS, "unstable"),
)
def handler(request: Request) -> Answer:
    attempt = Attempt(request.method, request.path, request.json_object(), request.source_ip)
    requester = request.requester
    upload_cross_signing_keys(requester, attempt.body, lambda: reauthenticate(attempt, requester.user_id))
    return {}
