"""Read the key of a session from a backup.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keyskeysroomidsessionid
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.keys import backups


@endpoint("GET", "/_matrix/client/{version}/room_keys/keys/{roomId}/{sessionId}", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return backups.get_session_key(
        request.requester.user_id,
        request.query.get("version"),
        request.params["roomId"],
        request.params["sessionId"],
    )
