"""A look at only the rooms that rang: usually all that a called client needs.

Its registration shows which rooms have updates since the previous one (`listeners.news_since`), and the mark
says when the client last got everything. So neither the memberships nor the heads of other rooms are read.
Everything is looked at if there are updates in the user's own streams, if a membership or the push rules
changed, if something changes merely because time passes; and every ten minutes, for changes that ring nobody.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from murmuration.aws import concurrency
from murmuration.aws.dynamodb import Item
from murmuration.aws.reads import Batch
from murmuration.clock import now_ms
from murmuration.identity.authentication import verify
from murmuration.identity.tokens import AccessToken
from murmuration.protocol.event_types import PUSH_RULES
from murmuration.protocol.push_rules.ruleset import Changes
from murmuration.rooms.room import Room
from murmuration.storage.live import sync_tokens as tokens
from murmuration.storage.live.positions import Positions
from murmuration.storage.rooms import room_items
from murmuration.storage.users import account_data, accounts, memberships, presence
from murmuration.sync.first_look import FirstLook, Identity, find_filter, identity_of, is_filter_read
from murmuration.sync.marks import Place
from murmuration.sync.unread import rule_digests

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId

EVERYTHING_S = 600
"""How long after a look at everything the next one is due: as long as a mark without updates is valid."""


def is_due(place: Place | None) -> bool:
    """Return whether a client at this place has to look at everything."""
    return place is None or not place.nonce or is_long_ago(place.looked_s)


def is_long_ago(looked_s: int) -> bool:
    """Return whether the next look at everything is due after one at `looked_s`."""
    return now_ms() // 1000 - looked_s >= EVERYTHING_S


@dataclass(frozen=True, slots=True)
class Recognised:
    """The requester, with the items that any look needs. All but the device may be a moment old."""

    identity: Identity
    push_changes: Changes
    presence: Item | None


def recognise(token: AccessToken, since: str) -> Recognised:
    """Verify a token, and read its client's positions. One round trip. Raises UnknownToken."""
    batch = Batch()
    device = batch.add(accounts.device_read(token.key))
    key = tokens.token_key(token.user_id, tokens.parse(since))
    row = batch.add(tokens.row_read(key, eventual=True))
    rules = batch.add(replace(account_data.content_read(token.user_id, "", PUSH_RULES), eventual=True))
    own_presence = batch.add(replace(presence.item_read(token.user_id), eventual=True))
    batch.fetch()
    identity = identity_of(verify(token, device.value), row.value, token.device_id, since)
    return Recognised(identity, cast("Changes", rules.value or {}), own_presence.value)


def look_at_rooms(
    token: AccessToken,
    known: Recognised,
    room_ids: Sequence[RoomId],
    filter_text: str | None,
    *,
    verifies: bool = False,
) -> FirstLook | None:
    """Read these rooms after the registration, in one round trip.

    Returns None if the client has to look at everything: its row wasn't found yet, something that it was
    shown has ended by now, its unread events were counted by other rules, or it isn't in one of the rooms.
    With `verifies` the token is verified again, because the client has waited since. Raises UnknownToken
    then, InvalidParam, BadJson.
    """
    base = known.identity.base
    if base is None or _is_outdated(token, base, known.push_changes):
        return None
    batch = Batch()
    device = batch.add(accounts.device_read(token.key)) if verifies else None
    reads = [memberships.membership_read(token.user_id, room_id) for room_id in room_ids]
    rows = batch.add_all([replace(read, eventual=not verifies) for read in reads])
    found = batch.add_all([room_items.head_read(room_id) for room_id in room_ids])
    _, sync_filter = concurrency.gather(
        batch.fetch,
        functools.partial(find_filter, token.user_id, filter_text),
        at_once=is_filter_read(token.user_id, filter_text or ""),
    )
    if device is not None:
        verify(token, device.value)
    joined = [row.value for row in rows if row.value is not None and row.value.membership == "join"]
    heads = [head.value for head in found if head.value is not None]
    if len(joined) < len(room_ids) or len(heads) < len(room_ids):
        return None
    return FirstLook(
        identity=known.identity,
        filter=sync_filter,
        memberships=joined,
        user_head=base.user,
        device_head=base.device,
        push_changes=known.push_changes,
        presence=known.presence,
        rooms={head.room_id: Room(head) for head in heads},
    )


def _is_outdated(token: AccessToken, base: Positions, push_changes: Changes) -> bool:
    """Return whether passing time or changed push rules change what was shown of any room or user."""
    now = now_ms()
    return (
        any(0 < until <= now for until in base.typing_until_ms.values())
        or any(until <= now for until, _, _ in base.present.values())
        or base.counted_by != rule_digests.digests_of(token.user_id, push_changes, frozenset(base.ignored))
    )
