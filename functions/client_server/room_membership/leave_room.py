"""Leave a room, reject an invite or withdraw a knock.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidleave
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.federation.membership.leaving import leave_room


@endpoint("POST", "/_matrix/client/{version}/rooms/{roomId}/leave", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    reason = request.fields(optional=True).optional_string("reason")
    leave_room(request.requester.user_id, request.params["roomId"], reason=reason)
    return {}
