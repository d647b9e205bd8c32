"""Find the event closest to a point in time.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.endpoint import Auth, Request, endpoint
from murmuration.federation.inbound.scrollback import get_event_by_timestamp
from murmuration.protocol.errors import MissingParam

if TYPE_CHECKING:
    from murmuration.rooms.json_types import EventAtTime


@endpoint(
    "GET",
    "/_matrix/client/{version}/rooms/{roomId}/timestamp_to_event",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    versions=("v1",),
)
def handler(request: Request) -> EventAtTime:
    if "ts" not in request.query:
        raise MissingParam("The query parameter ts is missing")
    return get_event_by_timestamp(
        request.access_token,
        request.params["roomId"],
        request.query_int("ts", 0),
        forward=request.query_choice("dir", ("f", "b")) == "f",
    )
