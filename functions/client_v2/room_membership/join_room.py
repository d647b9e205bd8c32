"""Join a room by its ID, an alias or an invite. Returns its content if the request asks for it.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from murmuration.drafts.v2.entering import join_room
from murmuration.endpoint import Answer, Request, endpoint


@endpoint("POST", "/_matrix/client/v2/join", refuses_suspended=True)
def handler(request: Request) -> Answer:
    return join_room(request.access_token, request.requester, request.fields())
