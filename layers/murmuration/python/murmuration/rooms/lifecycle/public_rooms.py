"""The published rooms of this server.

https://spec.matrix.org/v1.19/client-server-api/#published-room-directory
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.identity.tokens import Requester
from murmuration.protocol.bodies import Fields, strings_of
from murmuration.protocol.errors import Forbidden, InvalidParam, NotFound
from murmuration.protocol.sizes import LIST_BYTES, Budget, count_fitting
from murmuration.rooms.lifecycle.aliases import may_curate
from murmuration.rooms.lookup import fits_id
from murmuration.rooms.reading.summaries import SUMMARISED, listing
from murmuration.rooms.room import Room, prefetch
from murmuration.settings import settings
from murmuration.storage.rooms import directory, room_items

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, ServerName
    from murmuration.rooms.json_types import PublicRoomsPage, RoomListing

MAX_LIMIT = 500
_Rank = tuple[int, str]


@dataclass(frozen=True, slots=True)
class DirectoryRequest:
    """A client's or server's request to the directory.

    If `room_types` is None, all rooms match; a None in it means rooms without a type. `network` and
    `all_networks` ask for rooms of bridges, of which this server has none.
    """

    limit: int | None = None
    since: str | None = None
    server: ServerName | None = None
    search_term: str | None = None
    room_types: Collection[str | None] | None = None
    network: str | None = None
    all_networks: bool = False

    @classmethod
    def from_body(cls, body: Fields, *, server: ServerName | None = None) -> DirectoryRequest:
        """Parse the body of a client's or a server's request. Raises BadJson."""
        sieve = Fields(body.object("filter"))
        types = sieve.values.get("room_types")
        if types is not None:
            strings_of([each or "" for each in types] if isinstance(types, list) else types, "room_types")
        return cls(
            limit=body.integer("limit", 0),
            since=body.optional_string("since"),
            server=server,
            search_term=sieve.optional_string("generic_search_term"),
            room_types=types,
            network=body.optional_string("third_party_instance_id"),
            all_networks=body.values.get("include_all_networks") is True,
        )


def get_public_rooms(request: DirectoryRequest, *, federated: bool = False) -> PublicRoomsPage:
    """Return a page of the directory, the rooms with the most members first.

    With `federated`, rooms that users of other servers can't join are left out. Raises NotFound for another
    server's directory, InvalidParam for an unknown token.
    """
    backward, after = _parse_token(request.since) if request.since else (False, None)
    matching = find_public_rooms(request)
    limit = min(request.limit or MAX_LIMIT, MAX_LIMIT)
    begin, end = _slice([_rank(room) for room in matching], after, limit, backward=backward)
    page: list[Room] = matching[begin:end]
    prefetch(page, SUMMARISED)
    listed = [listing(room) for room in page]
    hidden = {room.room_id for room in page if federated and not room.federates}
    if backward:
        count = count_fitting(listed[::-1], Budget(LIST_BYTES))
        begin, page, listed = end - count, page[len(page) - count :], listed[len(listed) - count :]
    else:
        count = count_fitting(listed, Budget(LIST_BYTES))
        end, page, listed = begin + count, page[:count], listed[:count]
    answer: PublicRoomsPage = {
        "chunk": [shown for shown in listed if shown["room_id"] not in hidden],
        "total_room_count_estimate": len(matching),
    }
    if page and end < len(matching):
        answer["next_batch"] = _token(_rank(page[-1]), backward=False)
    if page and begin > 0:
        answer["prev_batch"] = _token(_rank(page[0]), backward=True)
    return answer


def find_public_rooms(request: DirectoryRequest) -> list[Room]:
    """Return all rooms that match the request, those with the most members first.

    Of a network beyond Matrix there are none. Raises NotFound for another server's directory.
    """
    if request.network and not request.all_networks:
        return []
    if request.server not in (None, "", settings().server_name):
        raise NotFound(f"{request.server} is another homeserver, which this one can't reach")
    return _sift(sorted(_rooms(), key=_rank), request)


def _rooms() -> list[Room]:
    """Return the published rooms that have a local user. This server can't know the current state of
    others.
    """
    heads = room_items.read_heads(directory.read_published(), eventual=True)
    return [Room(head) for head in heads.values() if head.is_resident]


def _rank(room: Room) -> _Rank:
    return -room.head.joined, room.room_id


def _sift(rooms: list[Room], request: DirectoryRequest) -> list[Room]:
    if not request.search_term and request.room_types is None:
        return rooms
    prefetch(rooms, SUMMARISED)
    return [room for room in rooms if _matches(listing(room), request)]


def _matches(listed: RoomListing, request: DirectoryRequest) -> bool:
    if request.room_types is not None and listed.get("room_type") not in request.room_types:
        return False
    term = (request.search_term or "").casefold()
    texts = (listed.get("name", ""), listed.get("topic", ""), listed.get("canonical_alias", ""))
    return any(term in text.casefold() for text in texts) or not term


def _slice(ranks: Sequence[_Rank], after: _Rank | None, limit: int, *, backward: bool) -> tuple[int, int]:
    """Return the bounds of a page: of the rooms after `after` or, with `backward`, of those before it."""
    if after is None:
        return 0, min(limit, len(ranks))
    if backward:
        end = sum(rank < after for rank in ranks)
        return max(0, end - limit), end
    begin = sum(rank <= after for rank in ranks)
    return begin, min(begin + limit, len(ranks))


def _token(rank: _Rank, *, backward: bool) -> str:
    text = json.dumps([backward, *rank], separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _parse_token(token: str) -> tuple[bool, _Rank]:
    try:
        backward, joined, room_id = json.loads(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidParam("The pagination token is not one of this server's") from error
    if not (isinstance(backward, bool) and isinstance(joined, int) and isinstance(room_id, str)):
        raise InvalidParam("The pagination token is not one of this server's")
    return backward, (joined, room_id)


# -- A room's place in the directory ----------------------------------------------------------------------


def get_room_visibility(room_id: RoomId) -> str:
    """Return `public` for a published room, else `private`. Raises NotFound."""
    _load_room(room_id)
    return "public" if directory.is_published(room_id) else "private"


def set_room_visibility(requester: Requester, room_id: RoomId, visibility: str) -> None:
    """Publish a room, or remove it from the directory. Raises InvalidParam, NotFound, Forbidden."""
    if visibility not in ("public", "private"):
        raise InvalidParam("visibility must be public or private")
    room = _load_room(room_id)
    if not (requester.is_admin or may_curate(room, requester.user_id)):
        raise Forbidden("Only moderators of the room may publish or withdraw it")
    public = visibility == "public"
    dynamodb.execute(directory.publish_write(room_id) if public else directory.withdraw_write(room_id))


def _load_room(room_id: RoomId) -> Room:
    if not fits_id(room_id):
        raise NotFound("There is no such room")
    return Room.load(room_id)
