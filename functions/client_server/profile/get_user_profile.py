"""Read a user's whole profile.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuserid
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint
from murmuration.federation import profiles


@endpoint(
    "GET",
    "/_matrix/client/{version}/profile/{userId}",
    auth=Auth.NONE,
    versions=CLIENT_VERSIONS,
    also=("/_matrix/client/v2/profile/{userId}", "/_matrix/client/api/v1/profile/{userId}"),
)
def handler(request: Request) -> Answer:
    return profiles.get_user_profile(request.params["userId"], request.source_ip)
