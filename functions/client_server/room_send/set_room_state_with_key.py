"""Set a piece of a room's state.

https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.federation.membership.states import set_state
from murmuration.rooms.delayed.scheduling import set_or_schedule


@endpoint(
    "PUT",
    "/_matrix/client/{version}/rooms/{roomId}/state/{eventType}/{stateKey}",
    versions=CLIENT_VERSIONS,
    also=("/_matrix/client/api/v1/rooms/{roomId}/state/{eventType}/{stateKey}",),
    refuses_suspended=True,
)
def handler(request: Request) -> Answer:
    params = request.params
    return set_or_schedule(
        request.requester,
        params["roomId"],
        params["eventType"],
        params["stateKey"],
        request.json_object(),
        request.query_values,
        set_state=set_state,
    )
