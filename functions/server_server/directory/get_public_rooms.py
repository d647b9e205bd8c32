"""Return a page of this server's directory to another server.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1publicrooms
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.endpoint import Auth, Request, endpoint
from murmuration.federation.finding.public_rooms import serve_public_rooms
from murmuration.rooms.lifecycle.public_rooms import DirectoryRequest

if TYPE_CHECKING:
    from murmuration.rooms.json_types import PublicRoomsPage


@endpoint("GET", "/_matrix/federation/v1/publicRooms", auth=Auth.SERVER)
def handler(request: Request) -> PublicRoomsPage:
    wanted = DirectoryRequest(
        limit=request.query_int("limit", 0),
        since=request.query.get("since"),
        network=request.query.get("third_party_instance_id"),
        all_networks=request.query_bool("include_all_networks"),
    )
    return serve_public_rooms(request.origin, wanted)
