"""Send a message event to a room, or schedule it for later.

https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint
from murmuration.rooms.delayed.scheduling import send_or_schedule


@endpoint(
    "PUT",
    "/_matrix/client/{version}/rooms/{roomId}/send/{eventType}/{txnId}",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    versions=CLIENT_VERSIONS,
    also=("/_matrix/client/api/v1/rooms/{roomId}/send/{eventType}/{txnId}",),
    refuses_suspended=True,
)
def handler(request: Request) -> Answer:
    params = request.params
    return send_or_schedule(
        request.access_token,
        params["roomId"],
        params["eventType"],
        params["txnId"],
        request.json_object(),
        request.query_values,
    )
