"""What the founding drafts' readers of a sync's positions have in common."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from murmuration.aws import concurrency
from murmuration.protocol.events import StateKey
from murmuration.storage.live.positions import RoomPosition
from murmuration.sync import presence
from murmuration.sync.context import Context
from murmuration.sync.joined import RoomPart
from murmuration.sync.readers import RoomNews
from murmuration.sync.sections import SyncSections


class FoundingPresence:
    """Tells presence in the founding documents' states, and of who asks to see the user's."""

    def presence_state(self, state: str, /) -> str:
        return state

    def asking(self, ctx: Context, observers: Collection[str], /) -> dict[str, Any]:
        invites = presence.invites(ctx, observers)
        return {presence.INVITE: {"events": invites}} if invites else {}


class FoundingSections(FoundingPresence, SyncSections):
    """/sync's sections of rooms, with the founding documents' presence."""


class Sections(FoundingPresence):
    """The base of readers whose sections aren't /sync's."""

    for_beginners = True
    tracks = False
    deciding: Sequence[StateKey] = ()
    ahead: Sequence[StateKey] = ()

    def look(self) -> None:
        """Nothing else is asked for."""

    def postpones(self, _position: RoomPosition | None, /) -> bool:
        return False

    def tell(self, ctx: Context, news: RoomNews, ephemeral: list[dict[str, Any]], part: RoomPart, /) -> None:
        part.section, present = concurrency.gather(
            functools.partial(self.joined, ctx, news, ephemeral), functools.partial(self.present, news)
        )
        part.presence |= present

    def joined(
        self, ctx: Context, news: RoomNews, ephemeral: list[dict[str, Any]], /
    ) -> dict[str, Any] | None:
        """Return the section of a room that the user is in."""
        raise NotImplementedError

    def present(self, _news: RoomNews, /) -> Mapping[str, str]:
        """Return whose presence is looked at besides theirs that changed, with a room to know it by."""
        return {}
