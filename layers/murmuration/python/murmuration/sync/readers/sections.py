"""The reader that makes /sync's own sections of rooms. https://spec.matrix.org/v1.19/client-server-api/#syncing"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from murmuration.protocol.presence import as_today
from murmuration.rooms.reading.visibility import Viewer
from murmuration.rooms.room import Room
from murmuration.storage.live.positions import RoomPosition
from murmuration.storage.users.memberships import Membership
from murmuration.sync import joined, other_rooms
from murmuration.sync.context import Context
from murmuration.sync.readers import Reader, RoomNews
from murmuration.sync.timeline import Window

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import ClientEvent
    from murmuration.sync.readers.json_types import AnswerSections, RoomSection


class SyncSections:
    """Makes the sections of today's /sync."""

    for_beginners = True
    tracks = True
    deciding = joined.DECIDING
    ahead = joined.AHEAD

    def look(self) -> None:
        """Do nothing: /sync doesn't need the time of reading."""

    def postpones(self, _position: RoomPosition | None, /) -> bool:
        return False

    def window(self, ctx: Context, room: Room, viewer: Viewer, position: RoomPosition | None, /) -> Window:
        return joined.window(ctx, room, viewer, position)

    def tell(
        self, ctx: Context, news: RoomNews, ephemeral: list[ClientEvent], part: joined.RoomPart, /
    ) -> None:
        joined.tell(ctx, news, ephemeral, part)

    def left(self, ctx: Context, rooms: Sequence[tuple[Room, Membership]], /) -> Sequence[RoomSection | None]:
        return other_rooms.left_rooms(ctx, rooms)

    def outside(self, ctx: Context, row: Membership, /) -> RoomSection | None:
        if row.membership in ("invite", "knock"):
            return other_rooms.stripped_room(row, f"{row.membership}_state")
        return other_rooms.left_outside(ctx, row)

    def presence_state(self, state: str, /) -> str:
        return as_today(state)

    def asking(self, _ctx: Context, _observers: Collection[str], /) -> AnswerSections:
        return {}


SYNC: Reader = SyncSections()
