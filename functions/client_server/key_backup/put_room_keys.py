"""Store keys of several rooms in the backup.

https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keyskeys
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.keys import backups


@endpoint("PUT", "/_matrix/client/{version}/room_keys/keys", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return backups.put_keys(request.requester.user_id, request.query.get("version"), request.json_object())
