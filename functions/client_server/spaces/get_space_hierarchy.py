"""List the rooms of a space. The parameter `via` isn't specified: it names servers that know the space.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Request, endpoint
from murmuration.spaces import hierarchy


@endpoint("GET", "/_matrix/client/{version}/rooms/{roomId}/hierarchy", versions=("v1",))
def handler(request: Request) -> Answer:
    depth = request.query_int("max_depth", hierarchy.DEEPEST)
    return hierarchy.get_space_hierarchy(
        request.requester,
        request.params["roomId"],
        limit=request.query_int("limit", hierarchy.DEFAULT, low=1, high=hierarchy.MOST),
        max_depth=depth,
        suggested_only=request.query_bool("suggested_only"),
        start=request.query.get("from"),
        via=request.query_all("via"),
    )
