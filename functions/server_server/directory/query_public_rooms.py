"""Give another server a page of those rooms of this server's directory that pass a filter.

https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1publicrooms
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.federation.finding.public_rooms import serve_public_rooms
from murmuration.protocol.bodies import Fields
from murmuration.rooms.lifecycle.public_rooms import DirectoryRequest


@endpoint("POST", "/_matrix/federation/v1/publicRooms", auth=Auth.SERVER)
def handler(request: Request) -> Answer:
    return serve_public_rooms(request.origin, DirectoryRequest.from_body(Fields(request.content_object)))
