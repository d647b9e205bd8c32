"""Return a page of a room's history, going back.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from murmuration.drafts.v2.history import DEFAULT_LIMIT, make_reading, paginate
from murmuration.endpoint import Answer, Auth, Request, endpoint


@endpoint("GET", "/_matrix/client/v2/rooms/{roomId}/paginate", auth=Auth.DEFERRED_ACCESS_TOKEN)
def handler(request: Request) -> Answer:
    reading = make_reading(
        request.access_token,
        request.query.get("filter"),
        limit=request.query_int("max", DEFAULT_LIMIT, low=1),
        replies=request.query_int("replies", -1),
    )
    return paginate(request.access_token, request.params["roomId"], request.query.get("token"), reading)
