"""Remove one field of the requester's profile.

https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3profileuseridkeyname
"""

from __future__ import annotations

from murmuration import profiles
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint


@endpoint(
    "DELETE",
    "/_matrix/client/{version}/profile/{userId}/{keyName}",
    versions=CLIENT_VERSIONS,
    also=("/_matrix/client/v2/profile/{userId}/{keyName}",),
    refuses_suspended=True,
)
def handler(request: Request) -> Answer:
    return profiles.delete_profile_field(
        request.requester, request.params["userId"], request.params["keyName"]
    )
