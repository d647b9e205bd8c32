"""Read-up-to markers of version 2, which are stored as receipts.

In the draft they are state events; receipts do the same without filling the room's history.
https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from murmuration.identity.tokens import AccessToken
from murmuration.protocol.bodies import Fields
from murmuration.protocol.errors import InvalidParam
from murmuration.rooms.ephemeral import receipts
from murmuration.storage.live.receipts import READ

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId

RECEIPTS: Mapping[str, str] = {
    "m.room.marker.read": READ,
    "m.room.marker.delivered": receipts.DELIVERED,
}
"""The receipt type for each marker."""


def set_marker(token: AccessToken, room_id: RoomId, marker: str, body: Fields) -> None:
    """Mark all events up to the one that `body` names as read. A marker never moves back.

    Raises UnknownToken, Forbidden, NotFound for an event that the room doesn't have, InvalidParam for an
    unknown marker, MissingParam, BadJson.
    """
    if marker not in RECEIPTS:
        raise InvalidParam(f"The marker must be one of {', '.join(RECEIPTS)}")
    receipts.mark_up_to(token, room_id, RECEIPTS[marker], body.event_id())
