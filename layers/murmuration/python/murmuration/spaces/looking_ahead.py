"""Reads the next rooms of a walk together: local ones from the tables, others from other servers.

For rooms that this server is in, its own data is used; for others, the answers of other servers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from murmuration.aws.reads import fetch_all
from murmuration.federation.finding import spaces
from murmuration.federation.finding.spaces import RemoteSpace
from murmuration.federation.membership import joining
from murmuration.federation.membership.handshakes import candidates
from murmuration.identity import rate_limits
from murmuration.identity.tokens import Requester
from murmuration.protocol.event_types import MEMBER
from murmuration.rooms.lookup import fits_id
from murmuration.rooms.reading import summaries
from murmuration.rooms.reading.summaries import SPACE
from murmuration.rooms.room import Room, prefetch
from murmuration.settings import settings
from murmuration.storage.rooms import room_items
from murmuration.storage.rooms.hierarchy_places import Place
from murmuration.storage.users import memberships
from murmuration.transport.deadlines import Deadline

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, ServerName

Entry = Mapping[str, Any]
"""A room as a hierarchy shows it, with `children_state`. Other servers' entries may have further keys."""


class Lookout:
    """The facts that decide which rooms a user may see. Each room is read once."""

    def __init__(self, requester: Requester, deadline: Deadline, *, suggested_only: bool = False) -> None:
        self._requester = requester
        self._deadline = deadline
        self._suggested_only = suggested_only
        self._rooms: dict[str, Room] = {}
        self._told: dict[RoomId, RemoteSpace | None] = {}
        self._entries: dict[str, Entry | None] = {}

    def knows(self, room_id: RoomId) -> bool:
        return room_id in self._entries or room_id in self._rooms

    def entry(self, room_id: RoomId) -> Entry | None:
        """Return a room with `children_state` as the hierarchy shows it; None if the user may not see it."""
        room = self._rooms.get(room_id)
        if room is None:
            return self._entries.get(room_id)
        membership = room.membership(self._requester.user_id)
        if membership == "ban" or not summaries.may_know(self._requester, room, membership):
            return None
        return summaries.summary_with_children(room, suggested_only=self._suggested_only)

    def look(self, places: Sequence[Place]) -> None:
        """Read or request the rooms at these places, as long as there is time; the first one in any case.

        Raises LimitExceeded if other servers were asked too often for this user.
        """
        wanted = {place.room_id: place for place in places if fits_id(place.room_id)}
        self._entries |= {place.room_id: None for place in places if not fits_id(place.room_id)}
        heads = fetch_all([room_items.head_read(room_id) for room_id in wanted])
        here = {str(head.room_id): Room(head) for head in heads if head is not None and not head.is_stale}
        prefetch(list(here.values()), [*summaries.SUMMARISED, (MEMBER, self._requester.user_id)])
        self._rooms |= here
        elsewhere = [place for room_id, place in wanted.items() if room_id not in here]
        if not settings().federation:
            self._entries |= {place.room_id: None for place in elsewhere}
        elif elsewhere:
            self._look_elsewhere(elsewhere)

    def _look_elsewhere(self, places: Sequence[Place]) -> None:
        parents = [place.parent for place in places if place.parent and place.parent not in self._told]
        unknown = [place.room_id for place in places if place.room_id not in self._told]
        self._told |= spaces.known_spaces([*parents, *unknown])
        for place in places:
            if place.via and not place.parent and self._told.get(place.room_id) is None:
                self._told.pop(place.room_id, None)  # the client names other servers, which may know the room
        hints = {place.room_id: self._hint(place) for place in places}
        self._ask(
            [
                place
                for place in places
                if place.room_id not in self._told and _needs_asking(hints[place.room_id])
            ]
        )
        shown = self._shown(hints)
        allowed = visible_to(self._requester, [it for it in shown.values() if it is not None])
        self._entries |= {
            room_id: self._sieved(it) if it is not None and room_id in allowed else None
            for room_id, it in shown.items()
        }

    def _ask(self, places: Sequence[Place]) -> None:
        """Ask other servers about the rooms at these places. Raises LimitExceeded."""
        wanted = {place.room_id: self._servers(place) for place in places}
        self._told |= {room_id: None for room_id, servers in wanted.items() if not servers}
        if askable := {room_id: servers for room_id, servers in wanted.items() if servers}:
            rate_limits.check("remote_question", self._requester.user_id)
            self._told |= spaces.ask(askable, self._deadline)

    def _shown(self, hints: Mapping[RoomId, Entry | None]) -> dict[RoomId, Entry | None]:
        """Return the rooms' entries as other servers told them, or else as the parent space has them.

        A room is left out if it has still to be asked about.
        """
        shown: dict[RoomId, Entry | None] = {}
        for room_id, hint in hints.items():
            told = self._told.get(room_id)
            if told is not None:
                shown[room_id] = told.room
            elif room_id in self._told or not _needs_asking(hint):
                shown[room_id] = {**hint, "children_state": []} if hint else None
        return shown

    def _hint(self, place: Place) -> Entry | None:
        """Return what the answer about the parent space has for a room: a summary, None, or `_HIDDEN`."""
        above = self._told.get(place.parent) if place.parent else None
        if above is None:
            return None
        return _HIDDEN if place.room_id in above.inaccessible else above.children.get(place.room_id)

    def _servers(self, place: Place) -> list[ServerName]:
        if not place.parent:
            return joining.servers_for(self._requester.user_id, place.room_id, place.via)
        return candidates(place.room_id, place.via)

    def _sieved(self, entry: Entry) -> Entry:
        children = [
            child
            for child in entry["children_state"]
            if summaries.is_child(child["content"], suggested_only=self._suggested_only)
        ]
        return {**entry, "children_state": children}


_HIDDEN: Entry = {}
"""The entry for a room that no local user may see."""


def _needs_asking(hint: Entry | None) -> bool:
    """Return whether another server must be asked about a room.

    This is the case if nothing is known of it, or if it is a space, because its children aren't known.
    """
    return hint is None or hint.get("room_type") == SPACE


def visible_to(requester: Requester | None, entries: Iterable[Entry]) -> set[str]:
    """Return which of these remote rooms the user may see: rooms open to them, and rooms that they are in or
    invited to.

    One read.
    """
    rooms = {entry["room_id"]: entry for entry in entries}
    if requester is None:
        return {room_id for room_id, entry in rooms.items() if summaries.is_open_listing(entry)}
    allowed = {each for entry in rooms.values() for each in entry.get("allowed_room_ids", ())}
    wanted = list(rooms.keys() | allowed)
    found = memberships.read_kinds(requester.user_id, wanted)
    return {
        room_id
        for room_id, entry in rooms.items()
        if found.get(room_id) != "ban"
        and (
            found.get(room_id) in ("join", "invite", "knock")
            or summaries.is_open_listing(entry)
            or any(found.get(each) == "join" for each in entry.get("allowed_room_ids", ()))
        )
    }
