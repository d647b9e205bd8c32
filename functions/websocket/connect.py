"""Open a WebSocket that gets updates.
https://github.com/matrix-org/matrix-spec/blob/main/attic/drafts/websockets.rst
"""

from __future__ import annotations

from collections.abc import Mapping

from murmuration.delivery.sockets import PROTOCOL, connect
from murmuration.endpoint.sockets import SocketRequest, socket_endpoint


@socket_endpoint("$connect")
def handler(request: SocketRequest) -> Mapping[str, str]:
    connect(
        request.access_token,
        request.connection_id,
        since=request.query.get("since"),
        filter_text=request.query.get("filter"),
        protocols=request.subprotocols,
    )
    return {"Sec-WebSocket-Protocol": PROTOCOL} if request.subprotocols else {}
