"""Resolve a room alias.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directoryroomroomalias
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint
from murmuration.federation.finding import aliases

if TYPE_CHECKING:
    from murmuration.rooms.json_types import AliasedRoom


@endpoint(
    "GET",
    "/_matrix/client/{version}/directory/room/{roomAlias}",
    auth=Auth.NONE,
    versions=CLIENT_VERSIONS,
    also=(
        "/_matrix/client/v2/directory/room/{roomAlias}",
        "/_matrix/client/api/v1/directory/room/{roomAlias}",
    ),
)
def handler(request: Request) -> AliasedRoom | Answer:
    return aliases.get_room_id_by_alias(request.params["roomAlias"], address=lambda: request.source_ip)
