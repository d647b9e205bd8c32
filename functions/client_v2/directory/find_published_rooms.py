"""Search the published rooms, or return a further page of a search's result.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from murmuration.drafts.v2.published_rooms import DEFAULT_LIMIT, RoomSearch, find_rooms
from murmuration.endpoint import Answer, Request, endpoint
from murmuration.protocol.identifiers import ServerName


@endpoint("GET", "/_matrix/client/v2/publishedRooms")
def handler(request: Request) -> Answer:
    query = request.query
    limit = request.query_int("limit", DEFAULT_LIMIT, low=1)
    return find_rooms(
        RoomSearch(query.get("search"), request.query_as(ServerName, "server"), limit, query.get("token"))
    )
