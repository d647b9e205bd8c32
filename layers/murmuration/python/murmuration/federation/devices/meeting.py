"""Updates device lists when a user joins or leaves a room, across servers.

- A remote user joins or leaves: if their list is tracked, it may have changed while no local user shared a
  room with them. So it is fetched again, or forgotten.
- The first local user joins an encrypted room, or the last one leaves a room: the same happens for all remote
  users in it, because their servers don't report changes while no local user shares a room with them.
- A new server joins an encrypted room: it is told of the devices of the local users there. A local user joins
  one: all servers in the room are told of the user's devices. One update for each user is enough, because a
  server that missed earlier ones asks for the whole list.
- Users meet in a small encrypted room: from then on the local ones observe the others' device lists, so they
  are told of changes even before a client has asked for a list. In larger rooms only users whose clients ask
  are told.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws import concurrency
from murmuration.aws.dynamodb import StoredItem
from murmuration.clock import now_ms
from murmuration.protocol.event_types import ENCRYPTION, ENCRYPTION_KEY
from murmuration.protocol.identifiers import server_of
from murmuration.settings import settings
from murmuration.storage.live.new_entries import NewEntry, new_entries
from murmuration.storage.rooms import local_members, member_index
from murmuration.storage.rooms.local_members import Servers
from murmuration.storage.rooms.member_index import is_local

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, ServerName, UserId
    from murmuration.storage.rooms.room_items import RoomHead

MOST_TOLD = 100
"""The maximum number of local users of which a new server is told. It asks for others' keys when it needs
them."""
SMALL_ROOM = 50
"""The largest number of members for which local users observe the others' device lists before asking for
them."""
MOST_OBSERVERS = 20
"""How many local users of such a room observe them."""


@dataclass(frozen=True, slots=True)
class _Change:
    room_id: RoomId
    user_id: UserId
    has_come: bool
    servers: Servers


def note_members(items: Iterable[StoredItem]) -> None:
    """Update device lists for new entries of rooms' logs. Safe to repeat.

    In rooms without other servers it reads nothing: the Streams worker's items are enough.
    """
    if not settings().federation:
        return
    changes = [change for entry in new_entries(items) if (change := _change(entry)) is not None]
    remote = {change.user_id for change in changes if not is_local(change.user_id)}
    if remote:
        _make_stale(remote)
    for change in changes:
        head = change.servers.head
        if head is None:
            continue
        if change.has_come:
            if _is_encrypted(change.servers):
                _meet(change)
        elif is_local(change.user_id) and not head.local_joined:
            _make_stale(_members(head)[1])


def observe_members(items: Iterable[StoredItem]) -> None:
    """Make local users observe the device lists of users whom they meet, given new entries of rooms' logs.

    Call it before clients are told of the entries, since from then on clients expect to be told of changes.
    It may be called twice for the same entries.
    """
    if not settings().federation:
        return
    for entry in new_entries(items):
        if (change := _change(entry)) is not None and change.has_come:
            head = change.servers.head
            if head is not None and head.joined <= SMALL_ROOM and _is_encrypted(change.servers):
                _observe_one(head, change.user_id)
        elif _begins_encryption(entry):
            head = local_members.servers_at(entry.room_id, entry.root).head
            if head is not None and head.joined <= SMALL_ROOM:
                _observe(*_members(head))


def _observe_one(head: RoomHead, user_id: UserId) -> None:
    """Make a new local member observe the others, or the local members observe a new remote member."""
    if is_local(user_id):
        _observe([user_id], _members(head)[1])
    else:
        _observe(local_members.members_at(head.room_id, head.state_root, head), [user_id])


def _begins_encryption(entry: NewEntry) -> bool:
    if entry.is_past or ENCRYPTION not in (entry.encoded or ""):
        return False
    return (entry.fields.get("type"), entry.fields.get("state_key")) == ENCRYPTION_KEY


def _change(entry: NewEntry) -> _Change | None:
    """Return the user who joins or leaves; None for other entries, and in rooms without other servers."""
    user_id = entry.member
    if user_id is None or entry.is_past:
        return None
    has_come = entry.new_membership == "join"
    if has_come == (entry.membership_before == "join"):
        return None
    if is_local(user_id) and local_members.servers_at(entry.room_id, entry.root).head is None:
        return None
    # The entry's snapshot is the state before it, without the new member.
    return _Change(entry.room_id, user_id, has_come, local_members.servers_now(entry.room_id))


def _make_stale(users: Iterable[UserId]) -> None:
    from murmuration.federation.devices.resyncing import make_stale
    from murmuration.storage.keys import remote_devices

    known = remote_devices.read_lists(sorted(users))
    make_stale(user_id for user_id, each in known.items() if each.content is not None)


def _is_encrypted(servers: Servers) -> bool:
    from murmuration.rooms.room import Room

    return servers.head is not None and Room(servers.head).event(*ENCRYPTION_KEY) is not None


def _meet(change: _Change) -> None:
    head = change.servers.head
    if head is None:
        return
    if not is_local(change.user_id):
        server = server_of(change.user_id)
        if change.servers.joined.get(server) == 1:
            members = local_members.members_at(head.room_id, head.state_root, head)
            _tell(members[:MOST_TOLD], [server])
        return
    _tell([change.user_id], list(change.servers.joined))
    if head.local_joined == 1:
        _make_stale(_members(head)[1])


def _members(head: RoomHead) -> tuple[list[UserId], list[UserId]]:
    """Return the local users in a room, and the others."""
    present = member_index.read_present(head)
    return [it for it in present if is_local(it)], [it for it in present if not is_local(it)]


def _observe(local: Sequence[UserId], others: Sequence[UserId]) -> None:
    """Make local users observe the device lists of these users of other servers."""
    from murmuration.storage.keys import remote_devices

    def observe(user_id: UserId) -> None:
        for observer in local[:MOST_OBSERVERS]:
            remote_devices.observe(user_id, observer)
        remote_devices.begin(user_id)

    concurrency.parallel(*(functools.partial(observe, user_id) for user_id in others))


def _tell(users: Iterable[UserId], servers: list[ServerName]) -> None:
    """Order that servers are told of the newest change of these users' devices, if there was one."""
    from murmuration.aws.reads import fetch_all
    from murmuration.federation.outbound import pokes
    from murmuration.storage.keys import device_changes

    names, now = list(users), now_ms()
    heads = fetch_all([device_changes.head_read(user_id) for user_id in names])
    messages = [
        message
        for user_id, head in zip(names, heads, strict=True)
        if head.stream_id
        for message in pokes.new_events(user_id, [head.stream_id], servers, now)
    ]
    pokes.order(messages)
