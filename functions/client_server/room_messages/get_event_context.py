"""Read an event with the events around it.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.endpoint import CLIENT_VERSIONS, Auth, Request, endpoint
from murmuration.rooms.reading.timeline import DEFAULT_LIMIT, get_context, parse_filter

if TYPE_CHECKING:
    from murmuration.rooms.json_types import EventContext


@endpoint(
    "GET",
    "/_matrix/client/{version}/rooms/{roomId}/context/{eventId}",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    versions=CLIENT_VERSIONS,
)
def handler(request: Request) -> EventContext:
    return get_context(
        request.access_token,
        request.params["roomId"],
        request.params["eventId"],
        limit=request.query_int("limit", DEFAULT_LIMIT),
        event_filter=parse_filter(request.query.get("filter")),
    )
