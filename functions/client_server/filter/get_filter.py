"""Read a filter.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridfilterfilterid
"""

from __future__ import annotations

from murmuration import filters
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint


@endpoint("GET", "/_matrix/client/{version}/user/{userId}/filter/{filterId}", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return filters.get_filter(request.requester, request.params["userId"], request.params["filterId"])
