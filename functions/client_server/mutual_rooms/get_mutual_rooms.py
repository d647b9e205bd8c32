"""List the rooms that the requester shares with a user. The older path is from before it was specified.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mutual_rooms
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Request, endpoint
from murmuration.protocol.identifiers import UserId
from murmuration.search import mutual_rooms


@endpoint(
    "GET",
    "/_matrix/client/{version}/mutual_rooms",
    versions=("v1", "unstable"),
    also=("/_matrix/client/{version}/uk.half-shot.msc2666/user/mutual_rooms",),
)
def handler(request: Request) -> Answer:
    query = request.query
    start = query.get("from", query.get("batch_token"))
    return mutual_rooms.get_mutual_rooms(request.requester, request.query_as(UserId, "user_id"), start)
