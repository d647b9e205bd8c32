"""Leave a room, once for an action ID.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from murmuration.drafts.v2.memberships import leave_room
from murmuration.endpoint import Answer, Request, endpoint


@endpoint(
    "POST",
    "/_matrix/client/v2/rooms/{roomId}/leave",
    also=(
        "/_matrix/client/api/v1/rooms/{roomId}/leave",
        "PUT /_matrix/client/api/v1/rooms/{roomId}/leave/{txnId}",
    ),
)
def handler(request: Request) -> Answer:
    body = request.fields(optional=True)
    action_id = request.params.get("txnId") or request.query.get("action_id")
    leave_room(request.requester, request.params["roomId"], body, action_id)
    return {}
