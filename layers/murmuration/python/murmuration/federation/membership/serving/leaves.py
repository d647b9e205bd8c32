"""Accepting the leaves of users of other servers, including those that end an invite or a knock.

https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_leaveroomideventid
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.federation.membership.serving.taking import take
from murmuration.protocol.encoding.shapes import Answer

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId, RoomId, ServerName


def send_leave(origin: ServerName, room_id: RoomId, event_id: EventId, pdu: object) -> Answer:
    """Accept a leave. Raises NotFound, InvalidParam, Forbidden, LimitExceeded, Unavailable."""
    take(origin, room_id, event_id, pdu, "leave")
    return {}
