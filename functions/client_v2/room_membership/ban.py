"""Ban a user, once for an action ID.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from murmuration.drafts.v2.memberships import change_membership
from murmuration.endpoint import Answer, Request, endpoint


@endpoint(
    "POST",
    "/_matrix/client/v2/rooms/{roomId}/ban",
    also=(
        "/_matrix/client/api/v1/rooms/{roomId}/ban",
        "PUT /_matrix/client/api/v1/rooms/{roomId}/ban/{txnId}",
    ),
    refuses_suspended=True,
)
def handler(request: Request) -> Answer:
    action_id = request.params.get("txnId") or request.query.get("action_id")
    change_membership("ban", request.requester, request.params["roomId"], request.fields(), action_id)
    return {}
