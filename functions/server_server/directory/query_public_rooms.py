"""Return a page of those rooms of this server's directory that pass another server's filter.

https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1publicrooms
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.endpoint import Auth, Request, endpoint
from murmuration.federation.finding.public_rooms import serve_public_rooms
from murmuration.protocol.bodies import Fields
from murmuration.rooms.lifecycle.public_rooms import DirectoryRequest

if TYPE_CHECKING:
    from murmuration.rooms.json_types import PublicRoomsPage


@endpoint("POST", "/_matrix/federation/v1/publicRooms", auth=Auth.SERVER)
def handler(request: Request) -> PublicRoomsPage:
    return serve_public_rooms(request.origin, DirectoryRequest.from_body(Fields(request.content_object)))
