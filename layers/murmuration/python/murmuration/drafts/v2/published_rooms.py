"""The published rooms in version 2: a search is done once, and its result is then read page by page.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from murmuration.protocol.encoding.shapes import Answer
from murmuration.protocol.errors import InvalidParam
from murmuration.protocol.sizes import LIST_BYTES, Budget, json_bytes
from murmuration.rooms.lifecycle.public_rooms import DirectoryRequest, find_public_rooms
from murmuration.rooms.reading import erasures
from murmuration.rooms.room import Room, prefetch
from murmuration.storage.rooms import directory, directory_snapshots, room_items
from murmuration.storage.rooms.directory_snapshots import DirectorySnapshot

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, ServerName

DEFAULT_LIMIT = 20
MAX_LIMIT = 500
MAX_ROOMS = 5_000
"""How many rooms a search may find: as many as fit into one item."""
MOST_STATE_BYTES = 8_000
"""The maximum length of a room's name, topic or alias that is shown."""
PUBLISHABLE = tuple((f"m.room.{name}", "") for name in ("name", "topic", "canonical_alias"))
"""The types of state that users outside of a room are shown."""
_TOKEN = re.compile(r"([\w-]{16})\.([0-9]{1,4})", re.ASCII)


@dataclass(frozen=True, slots=True)
class RoomSearch:
    """A search for published rooms. With a token the other fields are ignored: the first request set them."""

    text: str | None = None
    server: ServerName | None = None
    limit: int = DEFAULT_LIMIT
    token: str | None = None


def find_rooms(search: RoomSearch) -> Answer:
    """Return a page of a search's result: `rooms`, their `total`, the number of the `page`, the `token` of
    the next one.

    A room that was unpublished since is left out of its page. Raises InvalidParam for a token that is invalid
    or expired, NotFound for another server's directory.
    """
    if search.token is None:
        return _begin(search)
    match = _TOKEN.fullmatch(search.token)
    snapshot = directory_snapshots.read(match[1]) if match else None
    if match is None or snapshot is None:
        raise InvalidParam("The pagination token is not known, or has expired: search again")
    number = int(match[2])
    room_ids = _page(snapshot, number)
    published = set(directory.read_published())
    return _answer(_load([each for each in room_ids if each in published]), snapshot, match[1], number)


def _begin(search: RoomSearch) -> dict[str, Any]:
    """Return the first page, and store the others."""
    wanted = DirectoryRequest(server=search.server, search_term=search.text)
    found = find_public_rooms(wanted)[:MAX_ROOMS]
    limit = max(1, min(search.limit, MAX_LIMIT))
    snapshot = DirectorySnapshot([room.room_id for room in found], limit)
    name = directory_snapshots.write(snapshot) if len(found) > limit else ""
    return _answer(found[:limit], snapshot, name, 1)


def _page(snapshot: DirectorySnapshot, number: int) -> Sequence[RoomId]:
    start = (number - 1) * snapshot.limit
    return snapshot.room_ids[start : start + snapshot.limit] if number > 0 else ()


def _load(room_ids: Sequence[RoomId]) -> list[Room]:
    """Return the rooms that still exist, in the same order."""
    return [Room(head) for head in room_items.read_heads(room_ids).values() if head.joined > 0]


def _answer(rooms: Sequence[Room], snapshot: DirectorySnapshot, name: str, number: int) -> Answer:
    prefetch(rooms, PUBLISHABLE)
    budget = Budget(LIST_BYTES)
    answer: Answer = {
        "rooms": [_shown(room, budget) for room in rooms],
        "total": len(snapshot.room_ids),
        "page": number,
    }
    return answer | ({"token": f"{name}.{number + 1}"} if _page(snapshot, number + 1) else {})


def _shown(room: Room, budget: Budget) -> dict[str, Any]:
    """Return the shown properties of a room. State that is long, or doesn't fit into the answer, is
    left out.
    """
    state = [
        {"type": event.type, "state_key": "", "sender": event.sender, "content": event.content}
        for event in erasures.shown_outside(room, PUBLISHABLE).values()
    ]
    fitting = [
        event for event in state if (size := json_bytes(event)) <= MOST_STATE_BYTES and budget.take(size)
    ]
    return {"room_id": room.room_id, "members": room.head.joined, "state": fitting}
