"""What is new in a window on the user's list of rooms: MSC4186, which the specification hasn't got yet.

Beside https://spec.matrix.org/v1.19/client-server-api/#syncing; docs/sliding_sync.md tells of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.endpoint import Auth, Request, endpoint
from murmuration.protocol.sliding.requests import parse
from murmuration.sliding_sync.engine import sliding_sync

if TYPE_CHECKING:
    from murmuration.sliding_sync.json_types import SlidingSyncAnswer

MERGED = "/_matrix/client/v4/sync"


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
    return sliding_sync(token, wanted)
