"""Return the complexity of a room's state, for a server whose users want to join.

The path is Synapse's: its setting `limit_remote_rooms` asks there.
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.federation.serving.complexity import get_complexity


@endpoint("GET", "/_matrix/federation/unstable/rooms/{roomId}/complexity", auth=Auth.SERVER)
def handler(request: Request) -> Answer:
    return get_complexity(request.origin, request.params["roomId"])
