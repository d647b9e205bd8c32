"""Delete a backup of room keys.

https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3room_keysversionversion
"""

from __future__ import annotations

from typing import Any

from murmuration.endpoint import CLIENT_VERSIONS, Request, endpoint
from murmuration.keys import backups


@endpoint("DELETE", "/_matrix/client/{version}/room_keys/version/{backupVersion}", versions=CLIENT_VERSIONS)
def handler(request: Request) -> dict[str, Any]:
    backups.delete_version(request.requester.user_id, request.params["backupVersion"])
    return {}
