"""Mark a room as read up to an event.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreceiptreceipttypeeventid
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint
from murmuration.rooms.ephemeral.receipts import send_receipt


@endpoint(
    "POST",
    "/_matrix/client/{version}/rooms/{roomId}/receipt/{receiptType}/{eventId}",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    versions=CLIENT_VERSIONS,
)
def handler(request: Request) -> Answer:
    params = request.params
    send_receipt(
        request.access_token,
        params["roomId"],
        params["receiptType"],
        params["eventId"],
        request.json_object(optional=True),
    )
    return {}
