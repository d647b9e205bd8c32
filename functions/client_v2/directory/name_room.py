"""Give a room an alias.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Request, endpoint
from murmuration.rooms.lifecycle.aliases import name_room


@endpoint("POST", "/_matrix/client/v2/rooms/{roomId}/aliases", refuses_suspended=True)
def handler(request: Request) -> Answer:
    localpart = request.fields().string("localpart")
    return {"room_alias": name_room(request.requester, request.params["roomId"], localpart)}
