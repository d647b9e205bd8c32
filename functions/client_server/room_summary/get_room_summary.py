"""Return the summary of a room. The older paths are from before the specification had one.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.spaces import summaries


@endpoint(
    "GET",
    "/_matrix/client/{version}/room_summary/{roomIdOrAlias}",
    auth=Auth.OPTIONAL_ACCESS_TOKEN,
    versions=("v1", "unstable"),
    also=(
        "/_matrix/client/{version}/im.nheko.summary/rooms/{roomIdOrAlias}/summary",
        "/_matrix/client/{version}/im.nheko.summary/summary/{roomIdOrAlias}",
        "/_matrix/client/{version}/org.matrix.msc3266/rooms/{roomIdOrAlias}/summary",
        "/_matrix/client/{version}/org.matrix.msc3266/summary/{roomIdOrAlias}",
    ),
)
def handler(request: Request) -> Answer:
    return summaries.get_room_summary(
        request.optional_requester,
        request.params["roomIdOrAlias"],
        request.query_all("via"),
        address=lambda: request.source_ip,
    )
