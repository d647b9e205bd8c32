"""A sync's first round trip: who asks, what they've seen, their rooms, where their streams stand."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from murmuration.aws import concurrency
from murmuration.aws.dynamodb import Item
from murmuration.aws.reads import Batch, fetch, fetch_all
from murmuration.cache import LruCache
from murmuration.identity.authentication import verify
from murmuration.identity.tokens import AccessToken, Requester
from murmuration.protocol.errors import InvalidParam
from murmuration.protocol.event_types import PUSH_RULES
from murmuration.protocol.filters import SyncFilter, parse_filter
from murmuration.protocol.push_rules.ruleset import Changes
from murmuration.storage.live import listeners, streams
from murmuration.storage.live import sync_tokens as tokens
from murmuration.storage.live.positions import Positions
from murmuration.storage.users import account_data, accounts, memberships, presence
from murmuration.storage.users.memberships import Membership

_filters: LruCache[tuple[str, str], SyncFilter] = LruCache(256)
"""Filters by user and ID, which names its content."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, what they have seen (None for a first sync, or when the token has expired), who waits.

    `is_fresh` says that they were told of what they have seen a moment ago.
    """

    requester: Requester
    base: Positions | None
    listener: Mapping[str, Any] | None
    is_fresh: bool = False


@dataclass(frozen=True, slots=True)
class FirstLook:
    """Where the user's rooms and streams stood when it was read."""

    identity: Identity
    filter: SyncFilter
    memberships: Sequence[Membership]
    user_head: int
    device_head: int
    push_changes: Changes
    presence: Item | None = None

    @property
    def requester(self) -> Requester:
        return self.identity.requester

    @property
    def base(self) -> Positions | None:
        return self.identity.base


def look(
    token: AccessToken, since: str | None, filter_text: str | None, *, known: Identity | None = None
) -> FirstLook:
    """Read it all at once; for one who is `known`, verify the token again and read the rest.

    Raises UnknownToken, InvalidParam, BadJson, NotFound.
    """
    since = tokens.parse(since) if since is not None else None
    row = tokens.token_key(token.user_id, since) if since is not None else None
    facts, sync_filter = concurrency.gather(
        functools.partial(read_facts, token, row, is_known=known is not None),
        functools.partial(_filter, token.user_id, filter_text),
        at_once=_is_read(token.user_id, filter_text or ""),
    )
    if known is None:
        base = tokens.positions_of(facts.row, token.device_id) if row is not None else None
        known = Identity(facts.requester, base, facts.listener, tokens.is_fresh(facts.row))
    return FirstLook(
        identity=known,
        filter=sync_filter,
        memberships=facts.memberships,
        user_head=facts.user_head,
        device_head=facts.device_head,
        push_changes=facts.contents.get(PUSH_RULES, {}),
        presence=facts.presence,
    )


def is_unchanged(first: FirstLook) -> bool:
    """Return whether the memberships and the heads of the user's own streams still are as they were read."""
    user_id, device_id = first.requester.user_id, first.requester.device_id
    user, device = streams.user_stream(user_id), streams.device_stream(user_id, device_id)
    heads, rows = concurrency.gather(
        functools.partial(fetch_all, [streams.seq_read(user), streams.seq_read(device)]),
        functools.partial(memberships.read_memberships, user_id, forgotten=True),
    )
    return heads == [first.user_head, first.device_head] and list(rows) == list(first.memberships)


@dataclass(frozen=True, slots=True)
class Facts:
    """What one round trip finds of a user who asks for news.

    `row` is the stored place from which they go on and `listener` who of theirs waits: both None where they
    were known already. `contents` are those of the account data asked for that there are, by type.
    """

    requester: Requester
    row: Item | None
    listener: Mapping[str, Any] | None
    memberships: Sequence[Membership]
    user_head: int
    device_head: int
    contents: Mapping[str, dict[str, Any]]
    presence: Item | None


def read_facts(
    token: AccessToken,
    row: Mapping[str, str] | None,
    *,
    is_known: bool = False,
    types: Sequence[str] = (PUSH_RULES,),
) -> Facts:
    """Verify a token, and read where its user and device stand; one round trip.

    `row` is the key of the place in the table of sync tokens. For one who `is_known` neither it nor the
    listeners are read. `types` are those of the account data to read. Raises UnknownToken.
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
        # Written a moment ago, a token may not have reached the replica that was asked.
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


def _is_read(user_id: str, text: str) -> bool:
    """Return whether a filter has to be read."""
    return bool(text) and not text.lstrip().startswith("{") and _filters.get((user_id, text)) is None


def _filter(user_id: str, text: str | None) -> SyncFilter:
    """The filter that `text` is (JSON) or names (an ID)."""
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

        known = read_filter(user_id, text)
        _filters.put((user_id, text), known)
    return known
