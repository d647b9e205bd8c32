"""`Reader`: what makes sections of the rooms for one API, by the positions that a sync keeps.

/sync's own is `sections.SYNC`; the founding drafts have others.
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
    from murmuration.sync.json_types import AnswerSections, RoomSection


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

    One that isn't `for_beginners` has nothing to tell who has no position, but where to begin. One that
    `tracks` has its clients' unread counts, keys, device lists and the presence of small rooms' members
    looked at, as /sync does. `deciding` is state that it needs of each room that moved, `ahead` what it needs
    of many rooms that the client doesn't know yet.
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
        """Note that the rooms' heads have been read. What is asked for from now on is no older."""

    def postpones(self, position: RoomPosition | None, /) -> bool:
        """Return whether a room that moved has to wait for the next look."""

    def window(self, ctx: Context, room: Room, viewer: Viewer, position: RoomPosition | None, /) -> Window:
        """Read of the log up to the room's head what the section is to be made of."""

    def tell(self, ctx: Context, news: RoomNews, ephemeral: list[ClientEvent], part: RoomPart, /) -> None:
        """Put into `part` what is to be told of a room that the user is in."""

    def left(self, ctx: Context, room: Room, row: Membership, /) -> RoomSection | None:
        """Return the section of a room that the user was in."""

    def outside(self, ctx: Context, row: Membership, /) -> RoomSection | None:
        """Return the section of a room that the user knows from outside: an invite, a knock, its end."""

    def presence_state(self, state: str, /) -> str:
        """Return the state of a presence in the words of the reader's API."""

    def asking(self, ctx: Context, observers: Collection[str], /) -> AnswerSections:
        """Return the sections about users who ask to see the user's presence, by name."""
