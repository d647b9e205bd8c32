"""Return the updates in a window of the user's list of rooms: MSC4186, which isn't in the specification yet.

Beside https://spec.matrix.org/v1.19/client-server-api/#syncing; docs/sliding_sync.md tells of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.endpoint import Auth, Request, endpoint
from murmuration.protocol.sliding.requests import parse
from murmuration.settings import settings
from murmuration.sliding_sync.engine import sliding_sync
from murmuration.sliding_sync.marks import Asking

if TYPE_CHECKING:
    from murmuration.sliding_sync.json_types import SlidingSyncAnswer

MERGED = "/_matrix/client/v4/sync"
PARKED_BY = ("access_token", "set_presence")
"""The query parameters on which a waiting request's answer depends; they are part of its fingerprint."""


@endpoint(
    "POST",
    "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    also=("POST /_matrix/client/v4/sync",),
)
def handler(request: Request) -> SlidingSyncAnswer:
    token = request.access_token
    is_merged = request.resource == MERGED
    wanted = parse(request.json_object(optional=True), request.query, token.user_id, is_merged=is_merged)
    parks, at_edge = settings().waiting == "parked", settings().waits == "edge"
    asked = [request.headers.get("authorization", ""), *(request.query.get(name, "") for name in PARKED_BY)]
    asking = Asking.of([*asked, request.resource], request.body, at_edge=at_edge) if parks else None
    return sliding_sync(token, wanted, asking)
