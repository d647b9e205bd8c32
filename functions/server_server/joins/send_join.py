"""Accept another server's signed join, and return the room's state. Version 1 returns a list.

https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
"""

from __future__ import annotations

from murmuration.endpoint import Auth, Request, Response, endpoint
from murmuration.federation.membership.serving.joins import send_join
from murmuration.federation.serving.answers import packed


@endpoint(
    "PUT",
    "/_matrix/federation/v2/send_join/{roomId}/{eventId}",
    auth=Auth.SERVER,
    also=("/_matrix/federation/v1/send_join/{roomId}/{eventId}",),
)
def handler(request: Request) -> Response:
    room_id, event_id = request.params["roomId"], request.params["eventId"]
    omit_members, gzip = request.query_bool("omit_members"), request.accepts_gzip
    told = send_join(request.origin, room_id, event_id, request.content, omit_members=omit_members, gzip=gzip)
    answer = packed([200, told] if "/v1/" in request.resource else told, gzip=gzip)
    return Response(answer.body, headers=answer.headers)
