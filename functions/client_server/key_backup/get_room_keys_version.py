"""Return a backup's description.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keysversionversion
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.keys import backups


@endpoint("GET", "/_matrix/client/{version}/room_keys/version/{backupVersion}", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return backups.get_version(request.requester.user_id, request.params["backupVersion"])
