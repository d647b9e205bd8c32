"""A sync's first round trip: the requester, their positions, their memberships, and the heads of their
streams.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from murmuration.aws import concurrency
from murmuration.aws.dynamodb import Item, StoredItem
from murmuration.aws.reads import Batch, fetch, fetch_all
from murmuration.cache import LruCache
from murmuration.identity.authentication import verify
from murmuration.identity.tokens import AccessToken, Requester
from murmuration.protocol.errors import InvalidParam, NotFound
from murmuration.protocol.event_types import IGNORED_USERS, INVITE_PERMISSION, PUSH_RULES
from murmuration.protocol.filters import SyncFilter, parse_filter
from murmuration.protocol.push_rules.ruleset import Changes
from murmuration.rooms.membership.invitees import blocks_invites
from murmuration.rooms.reading.visibility import ignored_users
from murmuration.rooms.room import Room
from murmuration.storage.live import listeners, streams
from murmuration.storage.live import sync_tokens as tokens
from murmuration.storage.live.compact import moves
from murmuration.storage.live.positions import Positions, RoomPosition, room_hash
from murmuration.storage.rooms import room_items
from murmuration.storage.users import account_data, accounts, memberships, presence
from murmuration.storage.users.memberships import Membership
from murmuration.sync.assembly.rooms import marks_of_others

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import JsonObject
    from murmuration.protocol.identifiers import DeviceId, RoomId, UserId

_filters: LruCache[tuple[str, str], SyncFilter] = LruCache(256)
"""Cached filters by user and ID; the ID is a hash of the content."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The requester, their positions (None for a first sync or an expired token), and the user's listeners.

    `row` is the stored row of the positions. `is_ending` says that it has to be stored anew.
    """

    requester: Requester
    base: Positions | None
    listener: StoredItem | None
    row: Positions | None = None
    is_ending: bool = False


def identify(token: AccessToken, since: str) -> Identity:
    """Verify a token, and read its client's positions and the user's listeners. One round trip.

    Raises UnknownToken.
    """
    batch = Batch()
    device = batch.add(accounts.device_read(token.key))
    row = batch.add(tokens.row_read(tokens.token_key(token.user_id, tokens.parse(since)), eventual=True))
    listener = batch.add(listeners.item_read(token.user_id))
    batch.fetch()
    return identity_of(verify(token, device.value), row.value, token.device_id, since, listener.value)


def identity_of(
    requester: Requester,
    item: Item | None,
    device_id: DeviceId,
    since: str,
    listener: StoredItem | None = None,
) -> Identity:
    """Return the identity of the requester with the token `since`, whose row is `item`."""
    row = tokens.positions_of(item, device_id)
    base = moves.apply(row, tokens.moves_in(since)) if row is not None else None
    return Identity(requester, base, listener, row, tokens.is_ending(item))


@dataclass(frozen=True, slots=True)
class FirstLook:
    """The user's memberships and the heads of their streams, as they were read.

    With `rooms` it is about these rooms only: nothing else has changed, and `memberships` has no others.
    """

    identity: Identity
    filter: SyncFilter
    memberships: Sequence[Membership]
    user_head: int
    device_head: int
    push_changes: Changes
    presence: Item | None = None
    rooms: dict[str, Room] | None = None

    @property
    def requester(self) -> Requester:
        return self.identity.requester

    @property
    def base(self) -> Positions | None:
        return self.identity.base

    @property
    def member_of(self) -> list[Membership]:
        """The memberships in rooms that the user is in."""
        return [row for row in self.memberships if row.membership == "join"]


def look(
    token: AccessToken, since: str | None, filter_text: str | None, *, known: Identity | None = None
) -> FirstLook:
    """Read everything in one round trip. With a `known` identity, verify the token again and read only the
    rest.

    Raises UnknownToken, InvalidParam, BadJson.
    """
    row = tokens.token_key(token.user_id, tokens.parse(since)) if since is not None else None
    facts, sync_filter = concurrency.gather(
        functools.partial(read_facts, token, row, is_known=known is not None),
        functools.partial(find_filter, token.user_id, filter_text),
        at_once=is_filter_read(token.user_id, filter_text or ""),
    )
    if known is None:
        known = identity_of(facts.requester, facts.row, token.device_id, since or "", facts.listener)
    return FirstLook(
        identity=known,
        filter=sync_filter,
        memberships=facts.memberships,
        user_head=facts.user_head,
        device_head=facts.device_head,
        push_changes=cast("Changes", facts.contents.get(PUSH_RULES, {})),
        presence=facts.presence,
    )


@dataclass(frozen=True, slots=True)
class Facts:
    """The result of one round trip for a user who asks for updates.

    `row` is the stored row of positions, and `listener` the user's listeners: both None if they were known
    already. `contents` are the account data of the requested types, without missing ones.
    """

    requester: Requester
    row: Item | None
    listener: StoredItem | None
    memberships: Sequence[Membership]
    user_head: int
    device_head: int
    contents: Mapping[str, JsonObject]
    presence: Item | None


def read_facts(
    token: AccessToken,
    row: Mapping[str, str] | None,
    *,
    is_known: bool = False,
    types: Sequence[str] = (PUSH_RULES,),
) -> Facts:
    """Verify a token, and read the state of its user and device. One round trip.

    `row` is the key of the stored row of positions. With `is_known` neither the row nor the listeners are
    read. `types` are the types of account data to read. Raises UnknownToken.
    """
    user, device = streams.user_stream(token.user_id), streams.device_stream(token.user_id, token.device_id)
    batch = Batch()
    asking = batch.add(accounts.device_read(token.key))
    user_head, device_head = batch.add_all([streams.seq_read(user), streams.seq_read(device)])
    own_presence = batch.add(presence.item_read(token.user_id))
    data = batch.add_all([account_data.content_read(token.user_id, "", data_type) for data_type in types])
    listener = None if is_known else batch.add(listeners.item_read(token.user_id))
    stored = None if is_known or row is None else batch.add(tokens.row_read(row, eventual=True))
    _, rows = concurrency.gather(
        batch.fetch,
        functools.partial(memberships.read_memberships, token.user_id, forgotten=True),
    )
    requester = verify(token, asking.value)
    place = stored.value if stored is not None else None
    if place is None and row is not None and not is_known:
        # The row may be so recent that the replica that was read doesn't have it yet.
        place = fetch(tokens.row_read(row))
    return Facts(
        requester=requester,
        row=place,
        listener=listener.value if listener is not None else None,
        memberships=rows,
        user_head=user_head.value,
        device_head=device_head.value,
        contents={name: each.value for name, each in zip(types, data, strict=True) if each.value is not None},
        presence=own_presence.value,
    )


def is_filter_read(user_id: UserId, text: str) -> bool:
    """Return whether a filter has to be read."""
    return bool(text) and not text.lstrip().startswith("{") and _filters.get((user_id, text)) is None


def find_filter(user_id: UserId, text: str | None) -> SyncFilter:
    """Return the filter that `text` contains (JSON) or names (an ID)."""
    if not text:
        return SyncFilter()
    if text.lstrip().startswith("{"):
        try:
            return parse_filter(json.loads(text))
        except ValueError as error:
            raise InvalidParam("filter is neither a filter's ID nor JSON") from error
    known = _filters.get((user_id, text))
    if known is None:
        from murmuration.filters import read_filter

        try:
            known = read_filter(user_id, text)
        except NotFound as error:
            raise InvalidParam(error.message) from error
        _filters.put((user_id, text), known)
    return known


def read_rooms(room_ids: Sequence[RoomId], late: bool, surely: Collection[str] = ()) -> dict[str, Room]:
    """Return the rooms, with consistent reads; with `late`, with eventual ones except for those in
    `surely`.
    """
    some = [room_id for room_id in room_ids if room_id in surely] if late else []
    heads, newer = concurrency.gather(
        functools.partial(room_items.read_heads, room_ids, eventual=late),
        functools.partial(room_items.read_heads, some),
        at_once=bool(some),
    )
    return {name: Room(head) for name, head in (heads | newer).items()}


def everything_seen(first: FirstLook) -> Positions:
    """Return the positions of a client for which everything until now counts as seen. One round trip."""
    user_id = first.requester.user_id
    admitted = first.filter.room.admits_room
    room_ids = [row.room_id for row in first.member_of]
    types = (IGNORED_USERS, INVITE_PERMISSION)
    rooms, (ignoring, permission) = concurrency.gather(
        functools.partial(read_rooms, [room_id for room_id in room_ids if admitted(room_id)], False),
        functools.partial(fetch_all, [account_data.content_read(user_id, "", each) for each in types]),
    )
    return Positions(
        rooms={
            room_hash(user_id, room.room_id): RoomPosition(room.head.ordinal, room.head.seq)
            for room in rooms.values()
            if room.head.unsettled is None
        },
        others=marks_of_others(user_id, first.memberships),
        user=first.user_head,
        ignored=sorted(ignored_users(ignoring) - {user_id}),
        blocks_invites=blocks_invites(permission or {}),
    )
