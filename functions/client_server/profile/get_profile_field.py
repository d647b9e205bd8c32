"""Read one field of a user's profile.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuseridkeyname
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint
from murmuration.federation import profiles


@endpoint(
    "GET",
    "/_matrix/client/{version}/profile/{userId}/{keyName}",
    auth=Auth.NONE,
    versions=CLIENT_VERSIONS,
    also=(
        "/_matrix/client/v2/profile/{userId}/{keyName}",
        "/_matrix/client/api/v1/profile/{userId}/{keyName}",
    ),
)
def handler(request: Request) -> Answer:
    return profiles.get_profile_field(request.params["userId"], request.params["keyName"], request.source_ip)
