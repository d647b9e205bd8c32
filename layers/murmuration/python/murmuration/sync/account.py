"""The user's own streams in a sync: account data, to-device messages, key counts."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws import concurrency
from murmuration.aws.dynamodb import Item
from murmuration.aws.reads import fetch_all
from murmuration.protocol.event_types import IGNORED_USERS, INVITE_PERMISSION, PUSH_RULES
from murmuration.rooms.membership.invitees import blocks_invites
from murmuration.rooms.reading.visibility import ignored_users
from murmuration.storage.keys import one_time_keys
from murmuration.storage.keys.device_lists import users_in
from murmuration.storage.live import streams, to_device
from murmuration.storage.users import account_data, presence, presence_lists
from murmuration.sync.answer import Answer
from murmuration.sync.context import Context
from murmuration.sync.first_look import FirstLook

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import ClientEvent
    from murmuration.protocol.identifiers import UserId
    from murmuration.storage.json_types import ToDeviceEvent

MESSAGES_PER_SYNC = 100
ACCOUNT_BYTES = 1_000_000
"""How much of the user's stream one answer may contain. The next answer continues."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The updates in the streams of the user and the device.

    `key_counts` are (one-time keys by algorithm, algorithms with an unused fallback key); None if unchanged.
    `presence` has the users whose presence changed, each with its `via`; `asking` has those who asked to see
    the user's. `decisive` are items that decide what else is shown, even if they come in a later answer.
    """

    account_items: Sequence[Item]
    by_room: Mapping[str, list[Item]]
    own_devices: set[UserId]
    to_device: Sequence[ToDeviceEvent]
    user_position: int
    device_position: int
    key_counts: tuple[dict[str, int], list[str]] | None
    presence: Mapping[UserId, str]
    asking: Sequence[str]
    decisive: Sequence[Item] = ()


def acknowledge(first: FirstLook) -> None:
    """Delete the to-device messages that the client has according to the token that it sent."""
    if first.base is not None and first.base.device > 0 and first.base.unacknowledged:
        requester = first.requester
        to_device.acknowledge(requester.user_id, requester.device_id, first.base.device)


def changes(first: FirstLook, *, to_device: bool = True, keys: bool = True) -> Changes:
    """Read the updates in the streams of the user and the device. One round trip.

    `to_device` and `keys` say whether messages and key counts are read.
    """
    base_user = first.base.user if first.base is not None else 0
    base_device = first.base.device if first.base is not None else 0
    (items, user_position), inbox, key_counts = concurrency.gather(
        functools.partial(_user_items, first, base_user),
        functools.partial(_inbox, first, base_device, wanted=to_device),
        functools.partial(_key_counts, first, base_device, wanted=keys),
        at_once=not is_quiet(first),
    )
    by_room: dict[str, list[Item]] = {}
    account_items: list[Item] = []
    for item in items:
        if room_id := account_data.room_of(item):
            by_room.setdefault(room_id, []).append(item)
        elif account_data.is_data(item):
            account_items.append(item)
    return Changes(
        account_items,
        by_room,
        users_in(items),
        inbox.events,
        user_position,
        inbox.position,
        key_counts,
        presence.marked(items),
        presence_lists.observers_among(items),
        _decisive(first) if user_position < first.user_head else (),
    )


def is_quiet(first: FirstLook) -> bool:
    """Return whether neither stream has changed, so that nothing needs to be read."""
    base = first.base
    return base is not None and first.user_head <= base.user and first.device_head <= base.device


def _user_items(first: FirstLook, after: int) -> tuple[list[Item], int]:
    """Return the items of the user's stream that fit into one answer, and the position after them."""
    if first.user_head <= after:
        return [], first.user_head
    stream = streams.user_stream(first.requester.user_id)
    return streams.read_some_after(stream, after, first.user_head, ACCOUNT_BYTES)


def _decisive(first: FirstLook) -> list[Item]:
    """Return the items that hide events and invites.

    They take effect before the answer that shows them.
    """
    user_id = first.requester.user_id
    items = fetch_all([account_data.item_read(user_id, each) for each in (IGNORED_USERS, INVITE_PERMISSION)])
    return [item for item in items if item is not None]


def _inbox(first: FirstLook, after: int, *, wanted: bool) -> to_device.Inbox:
    requester = first.requester
    if not wanted:
        return to_device.Inbox([], after)
    return to_device.read(
        requester.user_id, requester.device_id, after, MESSAGES_PER_SYNC, head=first.device_head
    )


def _key_counts(first: FirstLook, after: int, *, wanted: bool) -> tuple[dict[str, int], list[str]] | None:
    if not wanted or (first.base is not None and first.device_head <= after):
        return None
    counts = one_time_keys.read_counts(first.requester.user_id, first.requester.device_id)
    return dict(counts.one_time), sorted(counts.unused_fallback)


def account_events(ctx: Context, news: Changes) -> list[ClientEvent]:
    """Return the account data to show. A first answer has the push rules even if the user never
    changed them.
    """
    from murmuration.push_rules import as_account_data

    contents = account_data.contents_among(news.account_items)
    if contents.pop(PUSH_RULES, None) is not None or ctx.base is None:
        contents[PUSH_RULES] = as_account_data(ctx.user_id, ctx.push_changes)
    return [
        {"type": data_type, "content": content}
        for data_type, content in contents.items()
        if ctx.filter.account_data.admits_type(data_type)
    ]


def take(ctx: Context, answer: Answer, changes: Changes) -> None:
    """Add the updates in the user's own streams to an answer: account data, to-device messages, key counts.

    Those on which the rest of the answer depends are also stored in `ctx`.
    """
    positions = answer.positions
    positions.user, positions.device = changes.user_position, changes.device_position
    if changes.key_counts is not None:
        positions.one_time_keys, positions.fallback_keys = changes.key_counts
        before = ctx.base and (ctx.base.one_time_keys, ctx.base.fallback_keys)
        if before and before != (positions.one_time_keys, positions.fallback_keys):
            answer.sections["device_one_time_keys_count"] = positions.one_time_keys
    ctx.room_data = changes.by_room
    contents = account_data.contents_among((*changes.account_items, *changes.decisive))
    if IGNORED_USERS in contents:
        positions.ignored = sorted(ignored_users(contents[IGNORED_USERS]) - {ctx.user_id})
    if INVITE_PERMISSION in contents:
        positions.blocks_invites = blocks_invites(contents[INVITE_PERMISSION])
    ctx.ignored = frozenset(positions.ignored)
    events = account_events(ctx, changes)
    if events:
        answer.sections["account_data"] = {"events": events}
    positions.unacknowledged = bool(changes.to_device)
    if changes.to_device:
        answer.sections["to_device"] = {"events": changes.to_device}
    if ctx.base is not None and ctx.reader.tracks:
        answer.device_lists.changed |= changes.own_devices
