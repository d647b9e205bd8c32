"""Code that the readers of the founding drafts share."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from murmuration.aws import concurrency
from murmuration.protocol.events import StateKey
from murmuration.rooms.room import Room
from murmuration.storage.live.positions import RoomPosition
from murmuration.storage.users.memberships import Membership
from murmuration.sync import presence
from murmuration.sync.context import Context
from murmuration.sync.joined import RoomPart
from murmuration.sync.readers import RoomNews
from murmuration.sync.readers.sections import SyncSections

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import ClientEvent
    from murmuration.protocol.identifiers import UserId
    from murmuration.sync.readers.json_types import AnswerSections, RoomSection


class FoundingPresence:
    """Shows presence in the states of the founding documents, and the users who ask to see the user's
    presence.
    """

    def presence_state(self, state: str, /) -> str:
        return state

    def asking(self, ctx: Context, observers: Collection[str], /) -> AnswerSections:
        invites = presence.invites(ctx, observers)
        return {presence.INVITE: {"events": invites}} if invites else {}


class FoundingSections(FoundingPresence, SyncSections):
    """/sync's sections of rooms, with presence as in the founding documents."""


class Sections(FoundingPresence):
    """The base class of readers that don't produce /sync's sections."""

    for_beginners = True
    tracks = False
    deciding: Sequence[StateKey] = ()
    ahead: Sequence[StateKey] = ()

    def look(self) -> None:
        """Do nothing: these readers don't need the time of reading."""

    def postpones(self, _position: RoomPosition | None, /) -> bool:
        return False

    def tell(self, ctx: Context, news: RoomNews, ephemeral: list[ClientEvent], part: RoomPart, /) -> None:
        part.section, present = concurrency.gather(
            functools.partial(self.joined, ctx, news, ephemeral), functools.partial(self.present, news)
        )
        part.presence |= present

    def left(self, ctx: Context, rooms: Sequence[tuple[Room, Membership]], /) -> Sequence[RoomSection | None]:
        return concurrency.parallel(*(functools.partial(self.left_room, ctx, *pair) for pair in rooms))

    def left_room(self, ctx: Context, room: Room, row: Membership, /) -> RoomSection | None:
        """Return the section of a room that the user left."""
        raise NotImplementedError

    def joined(self, ctx: Context, news: RoomNews, ephemeral: list[ClientEvent], /) -> RoomSection | None:
        """Return the section of a room that the user is in."""
        raise NotImplementedError

    def present(self, _news: RoomNews, /) -> Mapping[UserId, str]:
        """Return users whose presence is shown even if it didn't change, with a room that they are in."""
        return {}
