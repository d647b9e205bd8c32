"""Forget a room that the requester has left.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidforget
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.rooms.membership.operations import forget_room


@endpoint("POST", "/_matrix/client/{version}/rooms/{roomId}/forget", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    forget_room(request.requester.user_id, request.params["roomId"])
    return {}
