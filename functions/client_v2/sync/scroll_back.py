"""Return a room for a user who opens it, or the updates in it.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from murmuration.drafts.v2.catching_up import Wanted, scroll_back
from murmuration.drafts.v2.history import DEFAULT_LIMIT
from murmuration.endpoint import Answer, Auth, Request, endpoint


@endpoint("GET", "/_matrix/client/v2/rooms/{roomId}/scrollback", auth=Auth.DEFERRED_ACCESS_TOKEN)
def handler(request: Request) -> Answer:
    query, most = request.query, request.query_int("max", DEFAULT_LIMIT)
    wanted = Wanted.read(request.access_token, query.get("filter"), query.get("state_filter"), most)
    return scroll_back(request.access_token, request.params["roomId"], query.get("streaming"), wanted)
