"""`Reader`: makes the rooms' sections for one API, from the positions that a sync stores.

/sync's own reader is `sections.SYNC`; the founding drafts have others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from murmuration.aws.dynamodb import Item
from murmuration.protocol.events import StateKey
from murmuration.rooms.reading.visibility import Viewer
from murmuration.rooms.room import Room
from murmuration.storage.live.positions import RoomPosition
from murmuration.storage.rooms.room_items import StateEntry
from murmuration.storage.users.memberships import Membership
from murmuration.sync.timeline import Window

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import ClientEvent
    from murmuration.sync.context import Context
    from murmuration.sync.joined import RoomPart
    from murmuration.sync.readers.json_types import AnswerSections, RoomSection


@dataclass(frozen=True, slots=True)
class RoomNews:
    """The items read for a changed joined room. `position` is None if the client doesn't know the room.

    `items` are the new items of the room's stream; `entries` is current state that decides what is shown.
    """

    room: Room
    membership: Membership
    viewer: Viewer
    position: RoomPosition | None
    window: Window
    items: Sequence[Item]
    entries: Mapping[StateKey, StateEntry]


class Reader(Protocol):
    """Makes a room's section; each reader chooses the keys. None means that there is nothing to show.

    A reader that isn't `for_beginners` gives a client without a position only a position to begin with. For a
    reader that `tracks`, unread counts, keys, device lists and the presence in small rooms are checked, as
    for /sync. `deciding` is state that it needs for each changed room; `ahead` is state that it needs for
    rooms that are new to the client.
    """

    @property
    def for_beginners(self) -> bool: ...

    @property
    def tracks(self) -> bool: ...

    @property
    def deciding(self) -> Sequence[StateKey]: ...

    @property
    def ahead(self) -> Sequence[StateKey]: ...

    def look(self) -> None:
        """Note that the rooms' heads have been read. Everything read from now on is at least as new."""

    def postpones(self, position: RoomPosition | None, /) -> bool:
        """Return whether a changed room has to wait for the next look."""

    def window(self, ctx: Context, room: Room, viewer: Viewer, position: RoomPosition | None, /) -> Window:
        """Return the entries of the log, up to the room's head, from which the section is made."""

    def tell(self, ctx: Context, news: RoomNews, ephemeral: list[ClientEvent], part: RoomPart, /) -> None:
        """Put the section of a joined room into `part`."""

    def left(self, ctx: Context, rooms: Sequence[tuple[Room, Membership]], /) -> Sequence[RoomSection | None]:
        """Return the sections of rooms that the user left, in order."""

    def outside(self, ctx: Context, row: Membership, /) -> RoomSection | None:
        """Return the section of an invite or a knock, or of its end."""

    def presence_state(self, state: str, /) -> str:
        """Return the state of the reader's API that corresponds to a presence state."""

    def asking(self, ctx: Context, observers: Collection[str], /) -> AnswerSections:
        """Return the sections about users who ask to see the user's presence."""
