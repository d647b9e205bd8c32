"""The stream of events of one room: one that anyone may read, or one that is read from a position in its
timeline.

New events don't wake users who aren't in the room. So this stream itself looks for new events, for a short
time. https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3events_2
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from murmuration.drafts.v1.events import Form
from murmuration.identity import patience
from murmuration.identity.tokens import AccessToken
from murmuration.protocol.errors import BadPagination, InvalidParam
from murmuration.protocol.filters import EventFilter
from murmuration.rooms.opening import unknown_room
from murmuration.rooms.reading.client_events import client_events
from murmuration.rooms.reading.pagination import position_token
from murmuration.rooms.reading.timeline import Scan
from murmuration.rooms.reading.viewing import View, open_view
from murmuration.storage.live import sync_tokens as tokens

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Answer
    from murmuration.protocol.identifiers import RoomId

AT_ONCE = 100
LONGEST_WAIT_MS = 10_000
PAUSES_S = (0.25, 0.5, 1.0, 2.0)
"""The pauses between looks, in seconds; after these, the last one is repeated."""


def get_room_events(
    token: AccessToken, room_id: RoomId, start: str | None, timeout_ms: int, form: Form
) -> Answer | None:
    """Return the events of a room after the token `start`, or from now on: `chunk`, and `start` and `end`
    tokens.

    Returns None for a member whose token belongs to the stream of all their rooms, because that has this
    room's events. Raises UnknownToken, BadPagination, and Forbidden for a user who may not read the room now.
    """
    view = _open(token, room_id)
    if view.viewer.is_joined and (start is None or tokens.is_stream_token(start)):
        return None
    position = _position(view, start)
    begun = start if start is not None else position_token(position)
    deadline = time.monotonic() + min(timeout_ms, LONGEST_WAIT_MS) / 1000
    looks = 0
    while True:
        scan = Scan(view, EventFilter(), position, view.horizon(), forward=True)
        scan.run(AT_ONCE)
        position = max(position, scan.position)
        remaining = deadline - time.monotonic()
        if scan.found or remaining <= 0:
            chunk = [form(event, room_id) for event in client_events(scan.found, view.viewer)]
            return {"chunk": chunk, "start": begun, "end": position_token(position)}
        patience.go_on()
        time.sleep(min(remaining, PAUSES_S[min(looks, len(PAUSES_S) - 1)]))
        looks += 1
        view = _open(token, room_id)


def _open(token: AccessToken, room_id: RoomId) -> View:
    """Return the room for a member, or for anybody if anyone may read it. Raises UnknownToken, Forbidden."""
    view = open_view(token, room_id)
    if not view.viewer.is_joined and not view.is_world_readable():
        raise unknown_room(room_id)
    return view


def _position(view: View, start: str | None) -> int:
    """Return the client's position in the room. A token without a position of this room means now."""
    if start is None:
        return view.horizon()
    try:
        return min(view.position(start), view.horizon())
    except InvalidParam as error:
        raise BadPagination(error.message) from error
