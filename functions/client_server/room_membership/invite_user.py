"""Invite a user to a room.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidinvite
"""

from __future__ import annotations

from typing import Any

from murmuration.endpoint import CLIENT_VERSIONS, Request, endpoint
from murmuration.rooms.membership.invitees import invitee
from murmuration.rooms.membership.operations import invite_user


@endpoint(
    "POST",
    "/_matrix/client/{version}/rooms/{roomId}/invite",
    versions=CLIENT_VERSIONS,
    refuses_suspended=True,
)
def handler(request: Request) -> dict[str, Any]:
    body = request.fields()
    user_id, reason = invitee(body), body.optional_string("reason")
    invite_user(request.requester.user_id, request.params["roomId"], user_id, reason=reason)
    return {}
