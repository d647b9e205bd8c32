"""Read a room's keys from a backup.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keyskeysroomid
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Request, endpoint
from murmuration.keys import backups
from murmuration.protocol.sizes import JsonText


@endpoint("GET", "/_matrix/client/{version}/room_keys/keys/{roomId}", versions=CLIENT_VERSIONS)
def handler(request: Request) -> JsonText:
    return backups.get_room_keys(
        request.requester.user_id, request.query.get("version"), request.params["roomId"]
    )
