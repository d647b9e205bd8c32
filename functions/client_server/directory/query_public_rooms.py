"""List those published rooms that pass a filter.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3publicrooms
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.federation.finding import public_rooms
from murmuration.protocol.identifiers import ServerName
from murmuration.rooms.lifecycle.public_rooms import DirectoryRequest

if TYPE_CHECKING:
    from murmuration.rooms.json_types import PublicRoomsPage


@endpoint("POST", "/_matrix/client/{version}/publicRooms", versions=CLIENT_VERSIONS)
def handler(request: Request) -> PublicRoomsPage | Answer:
    wanted = DirectoryRequest.from_body(
        request.fields(optional=True), server=request.query_as(ServerName, "server")
    )
    return public_rooms.get_public_rooms(wanted, request.requester.user_id)
