"""Read one event.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomideventeventid
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.endpoint import CLIENT_VERSIONS, Auth, Request, endpoint
from murmuration.rooms.reading.timeline import get_event

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import ClientEvent


@endpoint(
    "GET",
    "/_matrix/client/{version}/rooms/{roomId}/event/{eventId}",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    versions=CLIENT_VERSIONS,
)
def handler(request: Request) -> ClientEvent:
    return get_event(request.access_token, request.params["roomId"], request.params["eventId"])
