"""List those of the published rooms that pass a filter.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3publicrooms
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, StrictInt, StrictStr

from murmuration.endpoint import CLIENT_VERSIONS, Request, endpoint
from murmuration.rooms import public_rooms


class Filter(BaseModel):
    generic_search_term: StrictStr | None = None
    room_types: list[StrictStr | None] | None = None


class Body(BaseModel):
    limit: StrictInt = Field(0, ge=0)
    since: StrictStr | None = None
    filter: Filter = Field(default_factory=Filter)


@endpoint("POST", "/_matrix/client/{version}/publicRooms", versions=CLIENT_VERSIONS)
def handler(request: Request) -> dict[str, Any]:
    body = request.parse(Body, optional=True)
    wanted = public_rooms.DirectoryRequest(
        limit=body.limit,
        since=body.since,
        server=request.query.get("server"),
        search_term=body.filter.generic_search_term,
        room_types=body.filter.room_types,
    )
    return public_rooms.get_public_rooms(wanted)
