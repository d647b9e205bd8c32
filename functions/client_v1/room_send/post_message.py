"""Send a message event, without a transaction ID.

The founding draft's "Non-state events". Scripts send so by the later paths too. The specification leaves it
open: https://spec.matrix.org/v1.19/client-server-api/#transaction-identifiers
"""

from __future__ import annotations

from murmuration.drafts.v1.rooms import post_message
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint


@endpoint(
    "POST",
    "/_matrix/client/api/v1/rooms/{roomId}/send/{eventType}",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    versions=CLIENT_VERSIONS,
    also=("/_matrix/client/{version}/rooms/{roomId}/send/{eventType}",),
    refuses_suspended=True,
)
def handler(request: Request) -> Answer:
    params = request.params
    content = request.json_object()
    return {"event_id": post_message(request.access_token, params["roomId"], params["eventType"], content)}
