"""Set one field of the requester's profile.

https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3profileuseridkeyname
"""

from __future__ import annotations

from murmuration import profiles
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint


@endpoint(
    "PUT",
    "/_matrix/client/{version}/profile/{userId}/{keyName}",
    versions=CLIENT_VERSIONS,
    also=(
        "/_matrix/client/v2/profile/{userId}/{keyName}",
        "/_matrix/client/api/v1/profile/{userId}/{keyName}",
    ),
    refuses_suspended=True,
)
def handler(request: Request) -> Answer:
    params, propagate = request.params, request.query_bool("propagate", True)
    return profiles.set_profile_field(
        request.requester, params["userId"], params["keyName"], request.json_object(), propagate=propagate
    )
