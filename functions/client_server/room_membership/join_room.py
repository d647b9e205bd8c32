"""Join a room by its ID or an alias.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3joinroomidoralias
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint
from murmuration.federation.membership.joining import join_room
from murmuration.rooms.membership.joining import JoinRequest


@endpoint(
    "POST",
    "/_matrix/client/{version}/join/{roomIdOrAlias}",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    versions=CLIENT_VERSIONS,
    refuses_suspended=True,
)
def handler(request: Request) -> Answer:
    body = request.fields(optional=True)
    wanted = JoinRequest.from_body(request.params["roomIdOrAlias"], body, with_custom=True)
    via = [*request.query_all("via"), *request.query_all("server_name")]
    return {"room_id": join_room(request.access_token, wanted, via)}
