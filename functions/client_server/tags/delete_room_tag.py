"""Remove a tag from a room.

https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3useruseridroomsroomidtagstag
"""

from __future__ import annotations

from murmuration import account_data
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint


@endpoint(
    "DELETE",
    "/_matrix/client/{version}/user/{userId}/rooms/{roomId}/tags/{tag}",
    versions=CLIENT_VERSIONS,
)
def handler(request: Request) -> Answer:
    params = request.params
    account_data.delete_room_tag(request.requester, params["userId"], params["roomId"], params["tag"])
    return {}
