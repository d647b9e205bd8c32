"""Delete all keys of a backup.

https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3room_keyskeys
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.keys import backups


@endpoint("DELETE", "/_matrix/client/{version}/room_keys/keys", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return backups.delete_keys(request.requester.user_id, request.query.get("version"))
