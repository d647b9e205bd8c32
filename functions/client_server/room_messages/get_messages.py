"""Read a page of a room's timeline.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.endpoint import CLIENT_VERSIONS, Auth, Request, endpoint
from murmuration.federation.inbound.scrollback import get_messages
from murmuration.rooms.reading.timeline import DEFAULT_LIMIT, PageRequest, parse_filter

if TYPE_CHECKING:
    from murmuration.rooms.json_types import TimelinePage


@endpoint(
    "GET",
    "/_matrix/client/{version}/rooms/{roomId}/messages",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    versions=CLIENT_VERSIONS,
)
def handler(request: Request) -> TimelinePage:
    event_filter = parse_filter(request.query.get("filter"))
    page = PageRequest(
        forward=request.query_choice("dir", ("b", "f")) == "f",
        start=request.query.get("from"),
        end=request.query.get("to"),
        limit=request.query_int("limit", DEFAULT_LIMIT if event_filter.limit is None else event_filter.limit),
        filter=event_filter,
    )
    return get_messages(request.access_token, request.params["roomId"], page)
