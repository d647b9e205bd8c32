"""Return the description of the latest backup of room keys.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keysversion
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.keys import backups


@endpoint("GET", "/_matrix/client/{version}/room_keys/version", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return backups.get_current_version(request.requester.user_id)
