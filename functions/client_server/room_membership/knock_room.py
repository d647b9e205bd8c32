"""Knock on a room: ask to be invited.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3knockroomidoralias
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.federation.membership.knocking import knock_on_room


@endpoint(
    "POST",
    "/_matrix/client/{version}/knock/{roomIdOrAlias}",
    versions=CLIENT_VERSIONS,
    also=("/_matrix/client/v2/knock/{roomIdOrAlias}",),
    refuses_suspended=True,
)
def handler(request: Request) -> Answer:
    reason = request.fields(optional=True).optional_string("reason")
    named = request.params["roomIdOrAlias"]
    via = [*request.query_all("via"), *request.query_all("server_name")]
    room_id = knock_on_room(request.requester.user_id, named, via, reason=reason)
    return {"room_id": room_id}
