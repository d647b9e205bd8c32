"""API Gateway's management of WebSocket connections: sends messages to them and closes them."""

from __future__ import annotations

import functools
from typing import Any

from murmuration.settings import settings

LARGEST_BYTES = 128 * 1024
"""The maximum size of one message."""


class Gone(Exception):
    """The connection is closed, or isn't open yet."""


@functools.cache
def client() -> Any:
    from murmuration.aws.clients import make_client

    return make_client("apigatewaymanagementapi", endpoint_url=settings().socket_endpoint)


def post(connection_id: str, message: bytes) -> None:
    """Send a message. Raises Gone."""
    api = client()
    try:
        api.post_to_connection(ConnectionId=connection_id, Data=message)
    except api.exceptions.GoneException as error:
        raise Gone(connection_id) from error


def close(connection_id: str) -> None:
    """Close the connection, if it is open."""
    api = client()
    try:
        api.delete_connection(ConnectionId=connection_id)
    except api.exceptions.GoneException:
        return
