"""Redact an event, without a transaction ID.

The founding draft's "Non-state events". Scripts redact so by the later paths too. The specification leaves it
open: https://spec.matrix.org/v1.19/client-server-api/#transaction-identifiers
"""

from __future__ import annotations

from murmuration.drafts.v1.rooms import post_redaction
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint


@endpoint(
    "POST",
    "/_matrix/client/api/v1/rooms/{roomId}/redact/{eventId}",
    versions=CLIENT_VERSIONS,
    also=("/_matrix/client/{version}/rooms/{roomId}/redact/{eventId}",),
)
def handler(request: Request) -> Answer:
    params = request.params
    content = request.json_object(optional=True)
    return {"event_id": post_redaction(request.requester, params["roomId"], params["eventId"], content)}
