"""Handle a request over a WebSocket: ping, send or state.
https://github.com/matrix-org/matrix-spec/blob/main/attic/drafts/websockets.rst
"""

from __future__ import annotations

from murmuration.delivery.sockets import take_request
from murmuration.endpoint.sockets import SocketRequest, socket_endpoint


@socket_endpoint("$default")
def handler(request: SocketRequest) -> None:
    take_request(request.connection_id, request.text)
