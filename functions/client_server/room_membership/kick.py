"""Make a user leave a room.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidkick
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from murmuration.endpoint import CLIENT_VERSIONS, Request, endpoint
from murmuration.rooms.membership import kick_user


class Body(BaseModel):
    user_id: str
    reason: str | None = None


@endpoint("POST", "/_matrix/client/{version}/rooms/{roomId}/kick", versions=CLIENT_VERSIONS)
def handler(request: Request) -> dict[str, Any]:
    body = request.parse(Body)
    kick_user(request.requester.user_id, request.params["roomId"], body.user_id, reason=body.reason)
    return {}
