"""Tells others of a changed presence: with at most one marker for each room with a member on an event stream.

The Streams worker does this. A presence is stored before others are told. A user who opens a stream is stored
too, though others are told only if they would see a change. So of two users who open a stream or change
concurrently, telling about at least one of them finds the other: either it marks the room because the other
has a stream, or the other came later and is told what they missed.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence

from murmuration.aws import concurrency
from murmuration.aws.calls import Usage, counting
from murmuration.aws.dynamodb import StoredItem
from murmuration.clock import now_ms
from murmuration.identity.budgets import READ_UNIT, WRITE_UNIT, charge
from murmuration.presence import elsewhere
from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.identifiers import RoomId, UserId, server_of
from murmuration.protocol.presence import OFFLINE, Presence
from murmuration.rooms.room import Room
from murmuration.storage.live import streams
from murmuration.storage.live.new_entries import NewEntry, new_entries
from murmuration.storage.rooms import member_index, room_items
from murmuration.storage.rooms.local_members import members_at
from murmuration.storage.rooms.room_items import RoomHead
from murmuration.storage.users import memberships, presence, presence_lists

SMALL_ROOM = 20
"""In rooms with at most this many members it is checked whether a member is on a stream. In larger rooms
nearly always one is."""
MARKERS_AT_ONCE = 50


def tell(items: Iterable[StoredItem]) -> None:
    """Tell others of these new presences, and charge the users. Repeating it is harmless."""
    for user_id, new in presence.newest_of(items).items():
        is_local = member_index.is_local(user_id)
        with counting(usage := Usage()):
            _tell(user_id, new.presence, changed=new.changed, came=is_local and new.came)
        payer = user_id if is_local else server_of(user_id)
        charge(payer, usage.read_units * READ_UNIT + usage.write_units * WRITE_UNIT)


def tell_of_joins(items: Iterable[StoredItem]) -> None:
    """Tell users who join a room of the members who are online, and tell those members of the users.

    `items` are new items of rooms' logs. In a large room only the members are told here: the joining user's
    next sync reads the markers in the room's stream. Repeating it is harmless.
    """
    entries = new_entries(items)
    joined = {(entry.room_id, entry.member) for entry in entries if entry.member and _is_join(entry)}
    for room_id, user_id in sorted(joined):
        with counting(usage := Usage()):
            _tell_of_join(room_id, user_id)
        charge(user_id, usage.read_units * READ_UNIT + usage.write_units * WRITE_UNIT)


def _is_join(entry: NewEntry) -> bool:
    """Return whether a member event is a join of a user who wasn't in the room before."""
    return entry.membership_before != "join" and entry.new_membership == "join"


def _tell_of_join(room_id: RoomId, user_id: UserId) -> None:
    head = room_items.read_head(room_id)
    if head is None or head.joined < 2:
        return
    member = Room(head).event(MEMBER, user_id)
    if member is None or member.membership != "join":
        return  # the user has left since
    is_large = head.joined > SMALL_ROOM
    if not is_large:
        elsewhere.note_members([head])
    others = set(() if is_large else members_at(room_id, head.state_root)) - {user_id}
    known, now = presence.read_many({user_id, *others}), now_ms()
    own = known.pop(user_id, Presence())
    there = {other: room_id for other, theirs in known.items() if theirs.shown(now) != OFFLINE}
    markers = {streams.user_stream(user_id): there}
    if own.shown(now) != OFFLINE and (is_large or any(theirs.watches(now) for theirs in known.values())):
        markers[streams.room_stream(room_id)] = {user_id: room_id}
    concurrency.parallel(*(functools.partial(_mark, stream, users) for stream, users in markers.items()))


def _tell(user_id: UserId, told: Presence, *, changed: bool, came: bool) -> None:
    """Tell others if what they see has `changed`, and tell the user what they missed if they `came` online.

    Remote users have no stream here.
    """
    is_local = member_index.is_local(user_id)
    (small, large), observing, wanted = concurrency.gather(
        functools.partial(_rooms, user_id, came=came)
        if is_local
        else functools.partial(_rooms_of_remote, user_id),
        functools.partial(presence_lists.read_observers, user_id),
        functools.partial(presence_lists.read_list, user_id) if came else dict[UserId, str],
    )
    in_rooms = {other: room_id for room_id, members in small.items() for other in members}
    observers, listed = _granted(observing), _granted(wanted)
    known = presence.read_many(({*in_rooms} | observers | listed) - {user_id})
    missed = {other: in_rooms.get(other, "") for other in (_missed(told, known) if came else ())}
    own = {user_id: ""} if is_local and (len(told.devices) > 1 or not came) else {}
    markers = {streams.user_stream(user_id): own | missed}
    if changed:
        there = {other for other, theirs in known.items() if theirs.watched(told.changed_ms)}
        watched = [room_id for room_id, members in small.items() if there & set(members)]
        seen_in = {other: in_rooms[other] for other in there & {*in_rooms}}
        if len(seen_in) < len(watched):  # the same few users are in many rooms
            markers |= {streams.user_stream(other): {user_id: via} for other, via in seen_in.items()}
            watched = []
        markers |= {streams.room_stream(room_id): {user_id: room_id} for room_id in (*large, *watched)}
        markers |= {streams.user_stream(each): {user_id: ""} for each in (observers & there) - {*in_rooms}}
    concurrency.parallel(*(functools.partial(_mark, stream, users) for stream, users in markers.items()))


def _granted(entries: Mapping[UserId, str]) -> set[UserId]:
    return {other for other, state in entries.items() if state == presence_lists.GRANTED}


def _missed(told: Presence, known: Mapping[UserId, Presence]) -> list[UserId]:
    """Return the users whose presence changed while the user was away; the first time, all users who are
    online.
    """
    return sorted(
        other
        for other, theirs in known.items()
        if (theirs.changed_ms >= told.away_ms if told.away_ms else theirs.shown(told.came_ms) != OFFLINE)
    )


def _rooms_of_remote(user_id: UserId) -> tuple[dict[RoomId, tuple[UserId, ...]], list[RoomId]]:
    """Return the small rooms in which a remote user is seen, with their local members, and an empty list of
    large ones.
    """
    return _members(elsewhere.rooms_of(user_id, SMALL_ROOM)), []


def _rooms(user_id: UserId, *, came: bool) -> tuple[dict[RoomId, tuple[UserId, ...]], list[RoomId]]:
    """Return the user's rooms: the small ones with their local members, and the large ones.

    If the user `came` online, also records that their remote members are seen from now on.
    """
    joined = [row.room_id for row in memberships.read_memberships(user_id) if row.membership == "join"]
    if not joined:
        return {}, []
    heads = list(room_items.read_heads(joined).values())
    small = [head for head in heads if 1 < head.joined <= SMALL_ROOM]
    if came:
        elsewhere.note_members(small)
    return _members(small), [head.room_id for head in heads if head.joined > SMALL_ROOM]


def _members(heads: Sequence[RoomHead]) -> dict[RoomId, tuple[UserId, ...]]:
    """Return the local members, by room."""
    members = concurrency.parallel(
        *(functools.partial(members_at, head.room_id, head.state_root, head) for head in heads)
    )
    return {head.room_id: found for head, found in zip(heads, members, strict=True)}


def _mark(stream: str, users: Mapping[UserId, str]) -> None:
    markers = [presence.marker(user_id, via) for user_id, via in users.items()]
    for start in range(0, len(markers), MARKERS_AT_ONCE):
        some = markers[start : start + MARKERS_AT_ONCE]
        streams.append(stream, lambda some=some: some)  # type: ignore[misc]
