"""Log the requester's device out.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logout
"""

from __future__ import annotations

from murmuration.accounts import devices
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint


@endpoint(
    "POST",
    "/_matrix/client/{version}/logout",
    auth=Auth.LOCKED_ACCESS_TOKEN,
    versions=CLIENT_VERSIONS,
    also=("/_matrix/client/v2/logout",),
)
def handler(request: Request) -> Answer:
    return devices.logout(request.requester)
