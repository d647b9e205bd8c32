"""Return all rooms of a stream, or the updates in them.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from murmuration.drafts.v2.catching_up import Wanted, initial_sync
from murmuration.drafts.v2.history import DEFAULT_LIMIT
from murmuration.endpoint import Answer, Auth, Request, endpoint


@endpoint("GET", "/_matrix/client/v2/initialSync", auth=Auth.DEFERRED_ACCESS_TOKEN)
def handler(request: Request) -> Answer:
    query, most = request.query, request.query_int("max", DEFAULT_LIMIT)
    compact = request.query_bool("compact")
    wanted = Wanted.read(request.access_token, query.get("filter"), query.get("state_filter"), most)
    return initial_sync(request.access_token, query.get("streaming"), wanted, compact=compact)
