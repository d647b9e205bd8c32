"""Send a message event to a room.

https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid
"""

from __future__ import annotations

from typing import Any

from murmuration.endpoint import CLIENT_VERSIONS, Auth, Request, endpoint
from murmuration.rooms.writing.sending import send_message


@endpoint(
    "PUT",
    "/_matrix/client/{version}/rooms/{roomId}/send/{eventType}/{txnId}",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    versions=CLIENT_VERSIONS,
    also=("/_matrix/client/api/v1/rooms/{roomId}/send/{eventType}/{txnId}",),
    refuses_suspended=True,
)
def handler(request: Request) -> dict[str, Any]:
    params = request.params
    event_id = send_message(
        request.access_token,
        params["roomId"],
        params["eventType"],
        params["txnId"],
        request.json_object(),
    )
    return {"event_id": event_id}
