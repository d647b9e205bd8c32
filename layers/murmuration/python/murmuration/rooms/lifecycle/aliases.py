"""Room aliases of this server. https://spec.matrix.org/v1.19/client-server-api/#room-aliases"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Write
from murmuration.identity.tokens import AccessToken, Requester
from murmuration.protocol.encoding.shapes import Content
from murmuration.protocol.errors import AliasInUse, Forbidden, InvalidParam, NotFound, TooLarge
from murmuration.protocol.event_types import CANONICAL_ALIAS, CREATE_KEY, MEMBER, POWER_LEVELS_KEY
from murmuration.protocol.identifiers import RoomId, UserId, parse_room_alias
from murmuration.protocol.power_levels import PowerLevels
from murmuration.rooms.lookup import fits_id
from murmuration.rooms.opening import unknown_room
from murmuration.rooms.reading.viewing import open_view
from murmuration.rooms.room import Room
from murmuration.rooms.writing.append import Append, Draft, append
from murmuration.settings import settings
from murmuration.storage.rooms import directory
from murmuration.storage.users import memberships

if TYPE_CHECKING:
    from murmuration.rooms.json_types import AliasedRoom


def get_room_id_by_alias(alias: str) -> AliasedRoom:
    """Return the room that an alias points to, and the servers that know it.

    Raises InvalidParam, NotFound.
    """
    if parse_room_alias(alias).server_name != settings().server_name:
        raise NotFound(f"{alias} is an alias of another homeserver, which this one can't reach")
    found = directory.read_alias(alias)
    if found is None:
        raise _unknown(alias)
    return {"room_id": found["room_id"], "servers": [settings().server_name]}


def set_room_alias(requester: Requester, alias: str, room_id: RoomId) -> None:
    """Point a new alias to a room that the requester is in.

    Raises InvalidParam, Forbidden, AliasInUse, TooLarge for one alias too many.
    """
    require_new(alias)
    membership = memberships.read_membership(requester.user_id, room_id) if fits_id(room_id) else None
    if membership is None or membership.membership != "join":
        raise unknown_room(room_id)
    try:
        dynamodb.transact(directory.alias_writes(alias, room_id, requester.user_id))
    except ConditionFailed as error:
        if error.refused(directory.ALIAS):
            raise AliasInUse(f"Room alias {alias} already exists") from error
        raise TooLarge(f"A room may have {directory.MOST_ALIASES} aliases") from error


def name_room(requester: Requester, room_id: RoomId, localpart: str) -> str:
    """Point a new alias of this server to a room, and return the alias.

    Raises what `set_room_alias` raises.
    """
    alias = f"#{localpart}:{settings().server_name}"
    if not localpart or ":" in localpart:
        raise InvalidParam("localpart is an alias's local part, without # and :")
    set_room_alias(requester, alias, room_id)
    return alias


def delete_room_alias(requester: Requester, alias: str) -> None:
    """Remove an alias, also from the room's canonical alias if the requester may change that.

    The alias's creator may do this, and everyone with the power to set the canonical alias. Raises
    InvalidParam, NotFound, Forbidden.
    """
    _require_local(alias)
    found = directory.read_alias(alias)
    if found is None:
        raise _unknown(alias)
    room = Room.load(found["room_id"])
    is_creator = found.get("creator") == requester.user_id
    if not (is_creator or requester.is_admin or may_curate(room, requester.user_id)):
        raise Forbidden("Only its creator and the room's moderators may delete an alias")
    # If a request stops in between, its repetition still finds the alias and continues.
    _unname(room, requester.user_id, alias)
    if not _write(directory.alias_removal(alias, room.room_id)):
        raise _unknown(alias)


def may_curate(room: Room, user_id: UserId) -> bool:
    """Return whether a user is a member with the power to set the room's canonical alias."""
    create, levels, member = CREATE_KEY, POWER_LEVELS_KEY, (MEMBER, user_id)
    state = room.events([create, levels, member])
    power = PowerLevels.from_state(state.get(create), state.get(levels), room.version)
    joined = member in state and state[member].membership == "join"
    return joined and power.can_send(user_id, CANONICAL_ALIAS, is_state=True)


def _unname(room: Room, user_id: UserId, alias: str) -> None:
    """Remove an alias from the canonical alias, if the user may."""

    def plan(batch: Append) -> None:
        event = batch.state([(CANONICAL_ALIAS, "")]).get((CANONICAL_ALIAS, ""))
        content = without_alias(event.content, alias) if event is not None else None
        if content is not None:
            batch.add(Draft(CANONICAL_ALIAS, user_id, content, ""))

    try:
        append(room.room_id, plan, room=room)
    except Forbidden:
        return


def without_alias(content: Content, alias: str) -> Content | None:
    """Return an m.room.canonical_alias content without one alias; None if it doesn't contain the alias."""
    alternatives = content.get("alt_aliases")
    listed: Sequence[object] = alternatives if isinstance(alternatives, list) else ()
    if content.get("alias") != alias and alias not in listed:
        return None
    rest = {name: value for name, value in content.items() if name not in ("alias", "alt_aliases")}
    if content.get("alias") not in (alias, None):
        rest["alias"] = content["alias"]
    if remaining := [other for other in listed if other != alias]:
        rest["alt_aliases"] = remaining
    return rest


def get_local_aliases(token: AccessToken, room_id: RoomId) -> list[str]:
    """Return this server's aliases of a room, for a member of the room. Raises UnknownToken, Forbidden."""
    view = open_view(token, room_id)
    if not view.is_world_readable():
        view.require_joined()
    return directory.read_room_aliases(room_id)


def require_new(alias: str) -> None:
    """Check that a new alias may be made on this server. Raises InvalidParam.

    An alias without a localpart is refused. So is one with white space, because it is cut when people write
    it in a text. The specification allows such aliases, so existing ones stay valid.
    """
    _require_local(alias)
    localpart = parse_room_alias(alias).localpart
    if not localpart or any(character.isspace() for character in localpart):
        raise InvalidParam("A new alias has a local part, without white space")


def _require_local(alias: str) -> None:
    if parse_room_alias(alias).server_name != settings().server_name:
        raise InvalidParam(f"{alias} is not an alias of this homeserver")


def _unknown(alias: str) -> NotFound:
    return NotFound(f"Room alias {alias} not found")


def _write(writes: Sequence[Write]) -> bool:
    """Execute the writes. Returns False if the condition of the first one doesn't hold."""
    try:
        dynamodb.transact(writes)
    except ConditionFailed:
        return False
    return True
