"""The messages that are sent through WebSockets in response to a client's request.

They exist for the type checker: import them under TYPE_CHECKING, because making these classes takes time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypedDict

from murmuration.protocol.encoding.shapes import JsonObject

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId


class SentEvent(TypedDict, total=False):
    """The result of a request: the ID of the event that it sent; empty for a ping."""

    event_id: EventId


class SocketResponse(TypedDict):
    """The response to a request. `id` is the request's, None if that can't be read."""

    id: str | None
    result: NotRequired[SentEvent]
    error: NotRequired[JsonObject]
