"""List the events of one type that relate to an event by one relation type.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventidreltypeeventtype
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.endpoint import Auth, Request, endpoint
from murmuration.rooms.reading.relations import DEFAULT_LIMIT, RelationsRequest, get_relations

if TYPE_CHECKING:
    from murmuration.rooms.json_types import RelationsPage


@endpoint(
    "GET",
    "/_matrix/client/{version}/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    versions=("v1",),
)
def handler(request: Request) -> RelationsPage:
    params = request.params
    wanted = RelationsRequest(
        rel_type=params["relType"],
        event_type=params["eventType"],
        start=request.query.get("from"),
        end=request.query.get("to"),
        limit=request.query_int("limit", DEFAULT_LIMIT),
        forward=request.query_choice("dir", ("b", "f"), "b") == "f",
        recurse=request.query_bool("recurse"),
    )
    return get_relations(request.access_token, params["roomId"], params["eventId"], wanted)
