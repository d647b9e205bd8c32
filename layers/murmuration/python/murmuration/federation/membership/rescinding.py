"""Invites and knocks that others end: the invite is withdrawn, the knock refused, or the user banned.

The event comes in a transaction like any other, for a room that this server isn't in.
"""

from __future__ import annotations

from murmuration.federation.keys.fetching import verify_keys
from murmuration.federation.membership import outside
from murmuration.protocol.errors import MatrixError
from murmuration.protocol.event_types import CREATE, MEMBER
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import RoomId, ServerName, UserId
from murmuration.protocol.pdus.event_format import parse_pdu
from murmuration.protocol.pdus.validation import (
    check_content_hash,
    check_signatures,
    keys_to_look_up,
)
from murmuration.protocol.room_versions import ROOM_VERSIONS
from murmuration.rooms.lookup import fits_id
from murmuration.storage.rooms.member_index import is_local_id
from murmuration.storage.users import memberships
from murmuration.storage.users.memberships import Membership


def take_leave(pdu: object, origin: ServerName) -> bool:  # noqa: ARG001 - the signature counts, whoever brings it
    """End the invite or knock of a local user by an event of another server.

    The event counts only if its sender's server has signed it, and if its auth events include that very
    invite or knock. So a user outside the room can't make one, and an old event can't end a newer invite. An
    invite is ended only by who sent it, or by a creator of the room: this server doesn't know the room's
    power levels, so it can't tell whether another member may do that. Returns whether it ended anything; if
    not, the caller drops the event.
    """
    user_id, room_id = _named(pdu)
    if not is_local_id(user_id) or not fits_id(user_id) or not fits_id(room_id):
        return False
    row = memberships.read_membership(user_id, room_id)
    if row is None or not _is_open(row):
        return False
    event = _checked(pdu, row)
    if event is None:
        return False
    membership = event.membership or "leave"

    def end(before: Membership | None) -> Membership | None:
        if before is None or not _is_open(before) or before.event_id not in event.auth_events:
            return None
        if before.membership == "invite" and event.sender not in {before.sender, *_creators(before)}:
            return None
        return outside.ended_row(before, outside.shown_event(event), event.sender, membership)

    return outside.record(user_id, room_id, end)


def _named(pdu: object) -> tuple[UserId, RoomId]:
    """Return the user and the room of a membership PDU; empty strings if it isn't one."""
    if not isinstance(pdu, dict) or pdu.get("type") != MEMBER:
        return UserId(""), RoomId("")
    user_id, room_id = pdu.get("state_key"), pdu.get("room_id")
    if not isinstance(user_id, str) or not isinstance(room_id, str):
        return UserId(""), RoomId("")
    return UserId(user_id), RoomId(room_id)


def _is_open(row: Membership) -> bool:
    return row.is_outside and row.membership in ("invite", "knock") and row.room_version is not None


def _creators(row: Membership) -> set[object]:
    """Return the room's creators, according to the create event that came with an invite."""
    create = next((event for event in row.stripped_state if event["type"] == CREATE), None)
    if create is None:
        return set()
    version = ROOM_VERSIONS[row.room_version or ""]
    more = create["content"].get("additional_creators") if version.additional_creators else None
    return {create["sender"], *([it for it in more if isinstance(it, str)] if isinstance(more, list) else ())}


def _checked(pdu: object, row: Membership) -> Event | None:
    """Return the event if it is valid and ends this membership; else None."""
    try:
        event = parse_pdu(pdu, ROOM_VERSIONS[row.room_version or ""])
        if event.membership not in ("leave", "ban") or row.event_id not in event.auth_events:
            return None
        wanted = keys_to_look_up(event)
        check_signatures(event, verify_keys(dict.fromkeys(wanted, event.origin_server_ts)))
    except (MatrixError, KeyError):
        return None
    return check_content_hash(event)
