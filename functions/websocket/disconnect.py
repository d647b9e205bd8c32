"""Forget a connection that has ended. https://github.com/matrix-org/matrix-spec/blob/main/attic/drafts/websockets.rst"""

from __future__ import annotations

from murmuration.delivery.sockets import disconnect
from murmuration.endpoint.sockets import SocketRequest, socket_endpoint


@socket_endpoint("$disconnect")
def handler(request: SocketRequest) -> None:
    disconnect(request.connection_id)
