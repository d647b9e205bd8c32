"""Return all rooms, for a client that starts, and the token of the event stream.

The founding draft's "Syncing rooms"; today: https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

from __future__ import annotations

from murmuration.drafts.v1.events import V1
from murmuration.drafts.v1.stream import initial_sync
from murmuration.endpoint import Answer, Auth, Request, endpoint


@endpoint("GET", "/_matrix/client/api/v1/initialSync", auth=Auth.DEFERRED_ACCESS_TOKEN)
def handler(request: Request) -> Answer:
    return initial_sync(request.access_token, request.query, V1)
