"""Ban a user from a room.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidban
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from murmuration.endpoint import CLIENT_VERSIONS, Request, endpoint
from murmuration.rooms.membership import ban_user


class Body(BaseModel):
    user_id: str
    reason: str | None = None


@endpoint("POST", "/_matrix/client/{version}/rooms/{roomId}/ban", versions=CLIENT_VERSIONS)
def handler(request: Request) -> dict[str, Any]:
    body = request.parse(Body)
    ban_user(request.requester.user_id, request.params["roomId"], body.user_id, reason=body.reason)
    return {}
