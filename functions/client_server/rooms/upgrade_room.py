"""Upgrade a room to another version.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidupgrade
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.protocol.errors import BadJson, MissingParam
from murmuration.rooms.lifecycle import upgrades


@endpoint(
    "POST",
    "/_matrix/client/{version}/rooms/{roomId}/upgrade",
    versions=CLIENT_VERSIONS,
    refuses_suspended=True,
)
def handler(request: Request) -> Answer:
    body = request.json_object()
    version, creators = body.get("new_version"), body.get("additional_creators", [])
    if version is None:
        raise MissingParam("new_version is missing")
    if not isinstance(version, str) or not isinstance(creators, list):
        raise BadJson("new_version must be a string, additional_creators a list")
    room_id = upgrades.upgrade_room(request.requester, request.params["roomId"], version, creators)
    return {"replacement_room": room_id}
