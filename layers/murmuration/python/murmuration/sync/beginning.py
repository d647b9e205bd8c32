"""The token of a client that wants only what comes from now on."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from murmuration.aws import concurrency
from murmuration.aws.reads import fetch_all
from murmuration.identity.tokens import AccessToken
from murmuration.protocol.event_types import IGNORED_USERS, INVITE_PERMISSION
from murmuration.rooms.membership.invitees import blocks_invites
from murmuration.rooms.reading.visibility import ignored_users
from murmuration.rooms.room import Room
from murmuration.storage.live import sync_tokens as tokens
from murmuration.storage.live.positions import Positions, RoomPosition, mark, room_hash
from murmuration.storage.rooms import room_items
from murmuration.storage.users import account_data
from murmuration.storage.users.memberships import Membership
from murmuration.sync.first_look import FirstLook


def begin_at(token: AccessToken, first: FirstLook) -> str:
    """The token of one who has seen all that there is."""
    types = (IGNORED_USERS, INVITE_PERMISSION)
    room_ids = [row.room_id for row in first.memberships if row.membership == "join"]
    rooms, found = concurrency.gather(
        functools.partial(
            read_rooms, [each for each in room_ids if first.filter.room.admits_room(each)], late=False
        ),
        functools.partial(
            fetch_all, [account_data.content_read(token.user_id, "", data_type) for data_type in types]
        ),
    )
    ignoring, permission = found
    ignored = ignored_users(ignoring)
    positions = Positions(
        rooms={
            room_hash(token.user_id, room_id): RoomPosition(room.head.ordinal, room.head.seq)
            for room_id, room in rooms.items()
            if room.head.unsettled is None
        },
        others=others_of(token.user_id, first.memberships),
        user=first.user_head,
        ignored=sorted(ignored - {token.user_id}),
        blocks_invites=blocks_invites(permission or {}),
    )
    return tokens.write(token.user_id, token.device_id, positions)


def others_of(user_id: str, rows: Sequence[Membership]) -> dict[str, str]:
    return {room_hash(user_id, row.room_id): mark(row.event_id) for row in rows if row.membership != "join"}


def read_rooms(room_ids: Sequence[str], *, late: bool) -> dict[str, Room]:
    """The rooms as they are now, or were a moment ago; one round trip."""
    return {name: Room(head) for name, head in room_items.read_heads(room_ids, eventual=late).items()}
