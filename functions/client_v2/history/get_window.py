"""Return the events before and after an event.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from murmuration.drafts.v2.history import DEFAULT_LIMIT, POSITIONS, get_window, make_reading
from murmuration.endpoint import Answer, Auth, Request, endpoint


@endpoint("GET", "/_matrix/client/v2/events/{eventId}/context", auth=Auth.DEFERRED_ACCESS_TOKEN)
def handler(request: Request) -> Answer:
    position = request.query_choice("position", POSITIONS, "around")
    reading = make_reading(
        request.access_token,
        request.query.get("filter"),
        limit=request.query_int("max", DEFAULT_LIMIT),
        replies=request.query_int("replies", -1),
    )
    state = make_reading(request.access_token, request.query.get("state_filter")).filter
    return get_window(request.access_token, request.params["eventId"], position, reading, state)
