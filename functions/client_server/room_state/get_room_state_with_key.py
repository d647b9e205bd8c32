"""Read a piece of a room's state.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstateeventtypestatekey
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.endpoint import CLIENT_VERSIONS, Auth, Request, endpoint
from murmuration.rooms.reading import state_reads

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import ClientEvent
    from murmuration.protocol.encoding.shapes import Content


@endpoint(
    "GET",
    "/_matrix/client/{version}/rooms/{roomId}/state/{eventType}/{stateKey}",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    versions=CLIENT_VERSIONS,
    also=("/_matrix/client/api/v1/rooms/{roomId}/state/{eventType}/{stateKey}",),
)
def handler(request: Request) -> Content | ClientEvent:
    params = request.params
    return state_reads.get_room_state_with_key(
        request.access_token,
        params["roomId"],
        params["eventType"],
        params["stateKey"],
        form=request.query_choice("format", ("content", "event"), "content"),
    )
