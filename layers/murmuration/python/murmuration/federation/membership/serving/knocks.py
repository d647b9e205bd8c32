"""Accepting the knocks of users of other servers.

https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_knockroomideventid
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.federation.membership.serving.taking import take
from murmuration.federation.membership.stripped import full_state

if TYPE_CHECKING:
    from murmuration.federation.shapes import KnockAnswer
    from murmuration.protocol.identifiers import EventId, RoomId, ServerName


def send_knock(origin: ServerName, room_id: RoomId, event_id: EventId, pdu: object) -> KnockAnswer:
    """Accept a knock. The answer has the state that describes the room to the user, as whole events.

    Raises NotFound, InvalidParam, Forbidden, LimitExceeded, Unavailable.
    """
    room, _ = take(origin, room_id, event_id, pdu, "knock")
    return {"knock_room_state": full_state(room.events)}
