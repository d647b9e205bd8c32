"""Read a room's whole state.

The founding draft's "Getting events for a room"; today: https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room
"""

from __future__ import annotations

from collections.abc import Sequence

from murmuration.drafts.v1.rooms import get_room_state
from murmuration.endpoint import Answer, Auth, Request, endpoint


@endpoint("GET", "/_matrix/client/api/v1/rooms/{roomId}/state", auth=Auth.DEFERRED_ACCESS_TOKEN)
def handler(request: Request) -> Sequence[Answer]:
    return get_room_state(request.access_token, request.params["roomId"])
