"""`Reader`: one who goes by sync's positions, and makes of the rooms something else than /sync's sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from murmuration.aws.dynamodb import Item
from murmuration.protocol.events import StateKey
from murmuration.rooms.reading.visibility import Viewer
from murmuration.rooms.room import Room
from murmuration.storage.live.positions import RoomPosition
from murmuration.storage.rooms.room_items import StateEntry
from murmuration.storage.users.memberships import Membership
from murmuration.sync.timeline import Window

if TYPE_CHECKING:
    from murmuration.sync.context import Context


@dataclass(frozen=True, slots=True)
class RoomNews:
    """What was read of a joined room that moved; `position` is None where the client doesn't know the room.

    `items` are those of the room's stream that are new, `entries` current state that decides something.
    """

    room: Room
    membership: Membership
    viewer: Viewer
    position: RoomPosition | None
    window: Window
    items: Sequence[Item]
    entries: Mapping[StateKey, StateEntry]


class Reader(Protocol):
    """Makes a room's section, None for nothing to tell. Sections have what their maker likes.

    Unread counts, keys and device lists aren't looked at for it. One that isn't `for_beginners` has nothing
    to tell who has no position, but where to begin.
    """

    @property
    def for_beginners(self) -> bool: ...

    def look(self) -> None:
        """Where the rooms stand was read, now: what is asked for from here on is no older."""

    def postpones(self, position: RoomPosition | None, /) -> bool:
        """Whether a room that moved is left for another look, soon."""

    def window(self, room: Room, viewer: Viewer, position: RoomPosition | None, /) -> Window:
        """Read of the log up to the room's head what the section is to be made of."""

    def joined(
        self, ctx: Context, news: RoomNews, ephemeral: list[dict[str, Any]], /
    ) -> dict[str, Any] | None:
        """A room that the user is in."""

    def present(self, news: RoomNews, /) -> Mapping[str, str]:
        """Whose presence is looked at besides theirs that changed, with the room by which it may be known."""

    def left(self, ctx: Context, room: Room, row: Membership, /) -> dict[str, Any] | None:
        """A room that the user was in, or was invited to."""

    def outside(self, row: Membership, /) -> dict[str, Any] | None:
        """A room that the user is invited to or knocks on."""
