"""List a room's threads.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidthreads
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.endpoint import Auth, Request, endpoint
from murmuration.rooms.reading.relations import DEFAULT_LIMIT, get_threads

if TYPE_CHECKING:
    from murmuration.rooms.json_types import ThreadsPage


@endpoint(
    "GET",
    "/_matrix/client/{version}/rooms/{roomId}/threads",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    versions=("v1",),
)
def handler(request: Request) -> ThreadsPage:
    return get_threads(
        request.access_token,
        request.params["roomId"],
        participated=request.query_choice("include", ("all", "participated"), "all") == "participated",
        start=request.query.get("from"),
        limit=request.query_int("limit", DEFAULT_LIMIT),
    )
