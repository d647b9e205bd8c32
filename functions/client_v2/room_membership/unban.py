"""Lift a ban, once for an action ID.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from murmuration.drafts.v2.memberships import change_membership
from murmuration.endpoint import Answer, Request, endpoint


@endpoint(
    "POST",
    "/_matrix/client/v2/rooms/{roomId}/unban",
    also=(
        "/_matrix/client/api/v1/rooms/{roomId}/unban",
        "PUT /_matrix/client/api/v1/rooms/{roomId}/unban/{txnId}",
    ),
    refuses_suspended=True,
)
def handler(request: Request) -> Answer:
    action_id = request.params.get("txnId") or request.query.get("action_id")
    change_membership("unban", request.requester, request.params["roomId"], request.fields(), action_id)
    return {}
