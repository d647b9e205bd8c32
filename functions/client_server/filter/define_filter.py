"""Upload a filter.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter
"""

from __future__ import annotations

from murmuration import filters
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint


@endpoint("POST", "/_matrix/client/{version}/user/{userId}/filter", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    filter_id = filters.define_filter(request.requester, request.params["userId"], request.json_object())
    return {"filter_id": filter_id}
