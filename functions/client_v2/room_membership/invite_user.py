"""Invite a user. Returns their name and avatar.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from murmuration.drafts.v2.memberships import invite_user
from murmuration.endpoint import Answer, Request, endpoint


@endpoint(
    "POST",
    "/_matrix/client/v2/rooms/{roomId}/invite",
    also=(
        "/_matrix/client/api/v1/rooms/{roomId}/invite",
        "PUT /_matrix/client/api/v1/rooms/{roomId}/invite/{txnId}",
    ),
    refuses_suspended=True,
)
def handler(request: Request) -> Answer:
    action_id = request.params.get("txnId") or request.query.get("action_id")
    return invite_user(request.requester, request.params["roomId"], request.fields(), action_id)
