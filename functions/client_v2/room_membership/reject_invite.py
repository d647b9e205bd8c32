"""Reject an invite by its event ID.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from murmuration.drafts.v2.memberships import reject_invite
from murmuration.endpoint import Answer, Request, endpoint


@endpoint("POST", "/_matrix/client/v2/invites/{eventId}/reject")
def handler(request: Request) -> Answer:
    reject_invite(request.requester, request.params["eventId"], request.query.get("action_id"))
    return {}
