"""Create a room. Returns its content if the request asks for it.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from murmuration.drafts.v2.entering import create_room
from murmuration.endpoint import Answer, Request, endpoint


@endpoint("POST", "/_matrix/client/v2/createRoom", refuses_suspended=True)
def handler(request: Request) -> Answer:
    action_id = request.query.get("action_id")
    return create_room(request.access_token, request.requester, request.fields(), action_id)
