"""Redact an event.

https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidredacteventidtxnid
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.rooms.delayed.delays import refuse_delay
from murmuration.rooms.writing.sending import redact_event


@endpoint(
    "PUT",
    "/_matrix/client/{version}/rooms/{roomId}/redact/{eventId}/{txnId}",
    versions=CLIENT_VERSIONS,
    also=(
        "/_matrix/client/v2/rooms/{roomId}/redact/{eventId}/{txnId}",
        "/_matrix/client/api/v1/rooms/{roomId}/redact/{eventId}/{txnId}",
    ),
)
def handler(request: Request) -> Answer:
    params = request.params
    refuse_delay(request.query_values)
    event_id = redact_event(
        request.requester,
        params["roomId"],
        params["eventId"],
        params["txnId"],
        request.json_object(optional=True),
    )
    return {"event_id": event_id}
