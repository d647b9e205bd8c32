"""Read the tags of a room.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridroomsroomidtags
"""

from __future__ import annotations

from murmuration import account_data
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint


@endpoint("GET", "/_matrix/client/{version}/user/{userId}/rooms/{roomId}/tags", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    params = request.params
    return account_data.get_room_tags(request.requester, params["userId"], params["roomId"])
