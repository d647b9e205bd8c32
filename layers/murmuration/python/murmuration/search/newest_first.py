"""The events of several rooms that a user may see, the newest first, within limits for time and reads."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from murmuration.aws import concurrency
from murmuration.aws.reads import Batch
from murmuration.protocol.event_types import ENCRYPTION_KEY, IGNORED_USERS
from murmuration.rooms.reading.visibility import Seen, Viewer, ignored_users, make_viewer, seen_by
from murmuration.rooms.room import Room, prefetch
from murmuration.storage.rooms import room_items
from murmuration.storage.rooms.room_items import LogEntry
from murmuration.storage.users import account_data
from murmuration.storage.users.memberships import Membership

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import DeviceId, RoomId, UserId


FIRST_PAGE, PAGE = 20, 200
MOST_ROOMS = 1000
"""How many rooms are scanned at once. Others are scanned when these have no more events."""
AT_END = 10**15
"""A position after every event."""
MOST_ENTRIES = 10_000
SECONDS = 5.0


@dataclass(slots=True)
class _Room:
    """A room that is scanned: the events that were read but not yielded yet, and where the next page
    begins.
    """

    room: Room
    viewer: Viewer
    before: int
    entries: list[LogEntry] = field(default_factory=list)
    is_over: bool = False
    size: int = FIRST_PAGE

    def read(self) -> None:
        self.entries = room_items.read_log_page(
            self.room.room_id, self.room.version, before=self.before, limit=self.size, forward=False
        )
        self.size = PAGE
        if self.entries:
            self.before = self.entries[-1].ordinal
        else:
            self.is_over = True

    @property
    def place(self) -> int:
        """The ordinal at which the scan of this room continues."""
        return self.entries[0].ordinal + 1 if self.entries else self.before


def _is_encrypted(room: Room) -> bool:
    return room.event(*ENCRYPTION_KEY) is not None


class NewestFirst:
    """A scan of rooms' logs that yields the visible events, newest first by their senders' clocks.

    Within a room they come in the order of the log. `places` says where to begin in each room; without it, at
    the end. Without `encrypted`, encrypted rooms are left out. It ends when there are no more events in the
    first `MOST_ROOMS`, or after `SECONDS` or `MOST_ENTRIES` events: `places_left` says where to continue.
    """

    def __init__(
        self,
        user_id: UserId,
        device_id: DeviceId,
        memberships: Sequence[Membership],
        places: Mapping[str, int] | None = None,
        *,
        encrypted: bool = True,
    ) -> None:
        wanted = [each for each in memberships if places is None or places.get(each.room_id) is not None]
        wanted, later = wanted[:MOST_ROOMS], wanted[MOST_ROOMS:]
        self._later: dict[str, int] = {
            each.room_id: (places or {}).get(each.room_id, AT_END) for each in later
        }
        batch = Batch()
        heads = [batch.add(room_items.head_read(each.room_id)) for each in wanted]
        ignored = batch.add(account_data.content_read(user_id, "", IGNORED_USERS))
        batch.fetch()
        self._rooms: list[_Room] = []
        for membership, answer in zip(wanted, heads, strict=True):
            head = answer.value
            if head is None:
                continue
            room = Room(head)
            viewer = make_viewer(
                user_id,
                device_id,
                membership,
                head.version,
                ignored=ignored_users(ignored.value),
                erasures=head.erasures,
            )
            place = head.ordinal + 1
            if places is not None:
                place = min(place, places[membership.room_id])
            if viewer.joined_until is not None:
                place = min(place, viewer.joined_until + 1)
            self._rooms.append(_Room(room, viewer, place))
        if not encrypted:
            prefetch([each.room for each in self._rooms], [ENCRYPTION_KEY])
            self._rooms = [each for each in self._rooms if not _is_encrypted(each.room)]
        self._ends = time.monotonic() + SECONDS
        self._passed = 0

    def __iter__(self) -> Iterator[tuple[Room, Viewer, Seen]]:
        self._begin(self._rooms)
        while rooms := [each for each in self._rooms if each.entries]:
            if time.monotonic() > self._ends or self._passed >= MOST_ENTRIES:
                return
            newest = max(rooms, key=lambda each: each.entries[0].event.origin_server_ts)
            entry = newest.entries.pop(0)
            self._passed += 1
            seen = seen_by(newest.viewer, [entry])
            if not newest.entries:
                newest.before = entry.ordinal
                newest.read()
            for each in seen:
                yield newest.room, newest.viewer, each

    def _begin(self, rooms: Iterable[_Room]) -> None:
        """Read the newest events of all rooms, several rooms at a time."""
        concurrency.parallel(*(functools.partial(each.read) for each in rooms))

    def give_back(self, seen: Seen) -> None:
        """Make the next page begin with the event that was yielded last, because it doesn't fit into this
        page.
        """
        for each in self._rooms:
            if each.room.room_id == seen.entry.room_id:
                each.entries.insert(0, seen.entry)
                each.is_over = False

    def end_room(self, room_id: RoomId) -> None:
        """Skip the rest of a room."""
        for each in self._rooms:
            if each.room.room_id == room_id:
                each.entries, each.is_over = [], True

    def places_left(self) -> dict[str, int]:
        """Return where to continue in each room that has more events."""
        left: dict[str, int] = {each.room.room_id: each.place for each in self._rooms if not each.is_over}
        return left | self._later
