"""Begin a backup of room keys.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3room_keysversion
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.keys import backups


@endpoint("POST", "/_matrix/client/{version}/room_keys/version", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return {"version": backups.create_version(request.requester.user_id, request.json_object())}
