"""Change the description of a backup of room keys.

https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keysversionversion
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.keys import backups


@endpoint("PUT", "/_matrix/client/{version}/room_keys/version/{backupVersion}", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    backups.update_version(request.requester.user_id, request.params["backupVersion"], request.json_object())
    return {}
