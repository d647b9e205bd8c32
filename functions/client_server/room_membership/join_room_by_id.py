"""Join a room by its ID.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidjoin
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from murmuration.endpoint import CLIENT_VERSIONS, Auth, Request, endpoint
from murmuration.rooms.joining import join_room


class Body(BaseModel):
    reason: str | None = None
    third_party_signed: dict[str, Any] | None = None


@endpoint(
    "POST",
    "/_matrix/client/{version}/rooms/{roomId}/join",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    versions=CLIENT_VERSIONS,
)
def handler(request: Request) -> dict[str, Any]:
    body = request.parse(Body, optional=True)
    room_id = join_room(
        request.access_token,
        request.params["roomId"],
        reason=body.reason,
        third_party_signed=body.third_party_signed,
    )
    return {"room_id": room_id}
