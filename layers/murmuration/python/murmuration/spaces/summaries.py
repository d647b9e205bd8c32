"""The summary of one room for users outside of it. Other servers are asked about rooms that this server isn't
in.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from murmuration.federation.finding import spaces
from murmuration.federation.membership import joining
from murmuration.federation.membership.handshakes import candidates
from murmuration.identity import rate_limits
from murmuration.identity.tokens import Requester
from murmuration.protocol.encoding.shapes import JsonObject
from murmuration.protocol.errors import BadGateway, Forbidden, NotFound
from murmuration.rooms.lookup import fits_id
from murmuration.rooms.membership.joining import resolve
from murmuration.rooms.reading import summaries
from murmuration.rooms.room import Room
from murmuration.settings import settings
from murmuration.spaces.looking_ahead import visible_to
from murmuration.storage.rooms import room_items
from murmuration.storage.users import memberships
from murmuration.transport.deadlines import Deadline

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, ServerName
    from murmuration.spaces.looking_ahead import Entry

SECONDS = 15.0


def get_room_summary(
    requester: Requester | None,
    room_id_or_alias: str,
    via: Sequence[str] = (),
    *,
    address: Callable[[], str],
) -> JsonObject:
    """Return the summary of a room, with the requester's membership.

    `via` are servers that know the room; `address` returns the client's address. Raises InvalidParam,
    LimitExceeded, NotFound for a room that is unknown or hidden from the requester.
    """
    if not fits_id(room_id_or_alias):
        raise NotFound("There is no such room")
    servers = list(via)
    taken = False
    if joining.is_elsewhere(room_id_or_alias) and settings().federation:
        _take(requester, address)
        taken = True
        room_id, more = _find(room_id_or_alias)
        servers += more
    else:
        room_id = resolve(room_id_or_alias)
    head = room_items.read_head(room_id)
    if head is not None and not head.is_stale:
        return _own_summary(requester, Room(head))
    if not settings().federation:
        raise NotFound("There is no such room")
    return _others_summary(requester, room_id, servers, None if taken else address)


def _find(alias: str) -> tuple[RoomId, list[ServerName]]:
    """Return the room of another server's alias. Raises NotFound, also if that server doesn't answer."""
    try:
        return joining.find_alias(alias)
    except (BadGateway, Forbidden) as error:
        raise NotFound(f"The room of {alias} can't be found: {error.message}") from error


def _own_summary(requester: Requester | None, room: Room) -> JsonObject:
    membership = room.membership(requester.user_id) if requester else None
    if not summaries.may_know(requester, room, membership):
        raise NotFound("There is no such room")
    return summaries.summary(room) | ({"membership": membership or "leave"} if requester else {})


def _others_summary(
    requester: Requester | None, room_id: RoomId, via: Sequence[str], address: Callable[[], str] | None
) -> JsonObject:
    """Return the summary of a remote room. `address` is None if the question was counted already."""
    known = spaces.known_spaces([room_id])
    # no server had an answer before, but the client may name other servers now
    if known.get(room_id) is None:
        servers = _servers(requester, room_id, via)
        if servers and address is not None:
            _take(requester, address)
        known = spaces.ask({room_id: servers}, Deadline(SECONDS)) if servers else {}
    told = known.get(room_id)
    if told is None or not visible_to(requester, [told.room]):
        raise NotFound("There is no such room, or no server that was asked knows of it")
    shown = _without_children(told.room)
    if requester is None:
        return shown
    row = memberships.read_membership(requester.user_id, room_id)
    return {**shown, "membership": row.membership if row is not None else "leave"}


def _servers(requester: Requester | None, room_id: RoomId, via: Sequence[str]) -> list[ServerName]:
    if requester is None:
        return candidates(room_id, via)
    return joining.servers_for(requester.user_id, room_id, via)


def _without_children(room: Entry) -> JsonObject:
    return {name: value for name, value in room.items() if name != "children_state"}


def _take(requester: Requester | None, address: Callable[[], str]) -> None:
    """Count a question to other servers. Raises LimitExceeded."""
    if requester is not None:
        rate_limits.check("remote_question", requester.user_id)
    else:
        rate_limits.check("remote_question_from", address())
