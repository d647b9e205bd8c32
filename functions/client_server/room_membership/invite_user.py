"""Invite a user to a room.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidinvite
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.federation.membership.inviting import invite_user
from murmuration.rooms.membership.invitees import invitee


@endpoint(
    "POST",
    "/_matrix/client/{version}/rooms/{roomId}/invite",
    versions=CLIENT_VERSIONS,
    refuses_suspended=True,
)
def handler(request: Request) -> Answer:
    body = request.fields()
    user_id, reason = invitee(body), body.optional_string("reason")
    invite_user(request.requester.user_id, request.params["roomId"], user_id, reason=reason)
    return {}
