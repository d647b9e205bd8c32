"""Read the account's data for a room.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridroomsroomidaccount_datatype
"""

from __future__ import annotations

from murmuration import account_data
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint


@endpoint(
    "GET",
    "/_matrix/client/{version}/user/{userId}/rooms/{roomId}/account_data/{type}",
    versions=CLIENT_VERSIONS,
)
def handler(request: Request) -> Answer:
    params = request.params
    return account_data.get_account_data_per_room(
        request.requester, params["userId"], params["roomId"], params["type"]
    )
