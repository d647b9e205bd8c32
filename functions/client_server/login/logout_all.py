"""Log all of the requester's devices out.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logoutall
"""

from __future__ import annotations

from murmuration.accounts import devices
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint


@endpoint(
    "POST",
    "/_matrix/client/{version}/logout/all",
    auth=Auth.LOCKED_ACCESS_TOKEN,
    versions=CLIENT_VERSIONS,
    also=("/_matrix/client/v2/logout/all",),
)
def handler(request: Request) -> Answer:
    return devices.logout_all(request.requester)
