"""Make a user leave a room.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidkick
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.rooms.membership.operations import kick_user


@endpoint(
    "POST", "/_matrix/client/{version}/rooms/{roomId}/kick", versions=CLIENT_VERSIONS, refuses_suspended=True
)
def handler(request: Request) -> Answer:
    body = request.fields()
    user_id, reason = body.user_id(), body.optional_string("reason")
    kick_user(request.requester.user_id, request.params["roomId"], user_id, reason=reason)
    return {}
