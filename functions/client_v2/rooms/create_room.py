"""Create a room, and be shown what is in it.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from typing import Any

from murmuration.drafts.v2.entering import create_room
from murmuration.endpoint import Request, endpoint


@endpoint("POST", "/_matrix/client/v2/createRoom", refuses_suspended=True)
def handler(request: Request) -> dict[str, Any]:
    action_id = request.query.get("action_id")
    return create_room(request.access_token, request.requester, request.fields(), action_id)
