"""The extensions for encryption: to-device messages, changed devices, and key counts."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from murmuration.aws import concurrency
from murmuration.protocol.errors import InvalidParam
from murmuration.protocol.event_types import ENCRYPTION, MEMBER
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.rooms.room import Room
from murmuration.sliding_sync.look import Look
from murmuration.storage.keys import one_time_keys
from murmuration.storage.keys.device_lists import users_in
from murmuration.storage.live import to_device
from murmuration.storage.live.positions import room_hash
from murmuration.storage.live.sliding_positions import ConnectionState, KeyPosition
from murmuration.storage.live.to_device import Inbox
from murmuration.storage.users.memberships import Membership
from murmuration.sync import joined, timeline
from murmuration.sync.context import Context, DeviceLists
from murmuration.sync.device_lists import after_leaving, members_of, sharing_none

if TYPE_CHECKING:
    from murmuration.sliding_sync.json_types import KeysSection, MessagesSection

MOST_MESSAGES = 100
KeyCounts = tuple[dict[str, int], list[str]]
"""How many one-time keys are left, by algorithm; the algorithms of unused fallback keys."""
_PLACE = re.compile(r"d(\d{1,15})", re.ASCII)


# -- To-device messages ------------------------------------------------------------------------------


def place_in_messages(since: str) -> int:
    """Return the position in the device's stream that a client's `since` names. Raises InvalidParam."""
    if not since:
        return 0
    found = _PLACE.fullmatch(since)
    if found is None:
        raise InvalidParam("since is not one of this server's: take next_batch of an answer")
    return int(found[1])


def read_messages(look: Look, since: int, limit: int) -> Inbox:
    """Return the device's messages after a position. Nothing is deleted."""
    requester = look.requester
    head = look.facts.device_head
    most = max(1, min(limit, MOST_MESSAGES))
    return to_device.read(requester.user_id, requester.device_id, min(since, head), most, head=head)


def acknowledge(look: Look, since: int) -> None:
    """Delete the messages that the client has according to its `since`, if this connection has shown any."""
    state = look.place.state if look.place is not None else None
    if since > 0 and (state is None or state.positions.unacknowledged):
        requester = look.requester
        to_device.acknowledge(requester.user_id, requester.device_id, min(since, look.facts.device_head))


def messages_section(inbox: Inbox) -> MessagesSection:
    return {"next_batch": f"d{inbox.position}", "events": list(inbox.events)}


# -- Keys ------------------------------------------------------------------------------------------------


def read_key_counts(look: Look) -> KeyCounts | None:
    """Return the device's key counts; None if the client has these already."""
    state = look.place.state if look.place is not None else None
    follows = state is not None and state.key_rooms is not None
    if follows and state is not None and look.facts.device_head <= state.positions.device:
        return None
    requester = look.requester
    counts = one_time_keys.read_counts(requester.user_id, requester.device_id)
    return dict(counts.one_time), sorted(counts.unused_fallback)


def keys_section(state: ConnectionState, lists: DeviceLists) -> KeysSection:
    """Return the section about encryption. It always has the key counts."""
    section: KeysSection = {
        "device_one_time_keys_count": state.positions.one_time_keys,
        "device_unused_fallback_key_types": state.positions.fallback_keys,
    }
    if lists.changed or lists.left:
        section["device_lists"] = lists.as_json()
    return section


# -- Users whose devices changed -------------------------------------------------------------------------


def device_changes(
    ctx: Context,
    state: ConnectionState,
    rows: Sequence[Membership],
    rooms: Mapping[str, Room],
    own_devices: set[UserId],
) -> DeviceLists:
    """Return the users whose devices a client should fetch again. Moves `state` to the rooms' heads.

    The first request of a client gets no users: it knows no devices yet, or fetches all of them.
    """
    before = state.key_rooms
    joined_rows = [row for row in rows if row.membership == "join" and row.room_id in rooms]
    at_heads = {
        ctx.hash(row.room_id): _position_at(rooms[row.room_id])
        for row in joined_rows
        if rooms[row.room_id].head.unsettled is None
    }
    if before is None:
        state.key_rooms = at_heads
        return DeviceLists()
    lists = DeviceLists(changed=set(own_devices))
    calls = [
        functools.partial(_in_room, ctx, rooms[row.room_id], row, before.get(name))
        for row in joined_rows
        if (name := ctx.hash(row.room_id)) in at_heads and _is_moved(before.get(name), at_heads[name])
    ]
    after = dict(before)
    for found in concurrency.parallel(*calls):
        if found is not None:
            name, position, room_lists = found
            after[name] = position
            lists |= room_lists
    inside = {ctx.hash(row.room_id) for row in rows if row.membership == "join"}
    left = [
        row for row in rows if row.membership != "join" and ctx.hash(row.room_id) in before.keys() - inside
    ]
    for room_lists in concurrency.parallel(
        *(functools.partial(after_leaving, ctx, rooms[row.room_id]) for row in left if row.room_id in rooms)
    ):
        lists |= room_lists
    state.key_rooms = {name: position for name, position in after.items() if name in inside}
    return lists


def is_behind(
    ctx: Context, state: ConnectionState, rows: Sequence[Membership], rooms: Mapping[str, Room]
) -> bool:
    """Return whether there are changes, up to the rooms' heads, of which the client wasn't told."""
    known = state.key_rooms or {}
    heads = [rooms[row.room_id] for row in rows if row.membership == "join" and row.room_id in rooms]
    return any(
        _is_moved(known.get(ctx.hash(room.room_id)), _position_at(room))
        for room in heads
        if room.head.unsettled is None
    )


def has_unsettled(rows: Sequence[Membership], rooms: Mapping[str, Room]) -> bool:
    """Return whether the state of one of the client's rooms is being settled."""
    return any(
        rooms[row.room_id].head.unsettled is not None
        for row in rows
        if row.membership == "join" and row.room_id in rooms
    )


def left_key_rooms(state: ConnectionState | None, rows: Sequence[Membership]) -> list[RoomId]:
    """Return the rooms that the user has left since the last answer that included changes of their members'
    keys.
    """
    known = state.key_rooms if state is not None else None
    return [
        row.room_id
        for row in rows
        if known and row.membership != "join" and room_hash(row.user_id, row.room_id) in known
    ]


def _position_at(room: Room) -> KeyPosition:
    return KeyPosition(room.head.ordinal, room.head.seq, room.head.state_version)


def _is_moved(before: KeyPosition | None, now: KeyPosition) -> bool:
    return before is None or (before.seq, before.state_version) != (now.seq, now.state_version)


def _in_room(
    ctx: Context, room: Room, row: Membership, before: KeyPosition | None
) -> tuple[str, KeyPosition, DeviceLists] | None:
    """Return the changes from one changed joined room; None to leave it for the next look."""
    own = joined.own_pair(ctx)
    entries = room.entries([own, (ENCRYPTION, "")])
    if own not in entries or entries[own].event.event_id != row.event_id:
        return None
    if room.head.ordinal < (row.ordinal or 0):
        return None
    name, is_encrypted = ctx.hash(room.room_id), (ENCRYPTION, "") in entries
    lists = DeviceLists()
    if before is None or (row.since or 0) > before.ordinal:
        if is_encrypted:
            lists.changed = members_of(room) - {ctx.user_id}
        return name, _position_at(room), lists
    items, seq = joined.stream_items(room, before.seq)
    lists.changed = users_in(items)
    position = KeyPosition(room.head.ordinal, seq, room.head.state_version)
    if position.state_version == before.state_version:
        return name, KeyPosition(before.ordinal, seq, before.state_version), lists
    changed = timeline.state_delta(room, before.ordinal, room.head.state_root)
    if not is_encrypted:
        return name, position, lists
    if (ENCRYPTION, "") in changed:
        lists.changed |= members_of(room) - {ctx.user_id}
        return name, position, lists
    for (event_type, user_id), event in changed.items():
        if event_type == MEMBER and user_id != ctx.user_id:
            (lists.changed if event.membership == "join" else lists.left).add(event.member_id)
    lists.left = sharing_none(ctx.user_id, lists.left - lists.changed)
    return name, position, lists
