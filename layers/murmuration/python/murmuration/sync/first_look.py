"""A sync's first round trip: who asks, what they've seen, their rooms, where their streams stand."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from murmuration.aws import concurrency, dynamodb
from murmuration.aws.dynamodb import Item
from murmuration.cache import LruCache
from murmuration.identity.authentication import verify
from murmuration.identity.tokens import AccessToken, Requester
from murmuration.protocol.errors import InvalidParam
from murmuration.protocol.filters import SyncFilter, parse_filter
from murmuration.protocol.push_rules.ruleset import Changes
from murmuration.storage.live import listeners, streams
from murmuration.storage.live import sync_tokens as tokens
from murmuration.storage.live.positions import Positions
from murmuration.storage.users import account_data, memberships, presence
from murmuration.storage.users.memberships import Membership

_filters: LruCache[tuple[str, str], SyncFilter] = LruCache(256)
"""Filters by user and ID, which names its content."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, what they have seen (None for a first sync, or when the token has expired), who waits."""

    requester: Requester
    base: Positions | None
    listener: Mapping[str, Any] | None


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
    user, device = streams.user_stream(token.user_id), streams.device_stream(token.user_id, token.device_id)
    keys = {"users": [token.key]} if known is not None else _identity_keys(token, since)
    keys[streams.TABLE] = [
        streams.head_key(user),
        streams.head_key(device),
        {"stream_id": user, "sk": account_data.data_key("", "m.push_rules")},
        presence.key(token.user_id),
    ]
    found, rows, sync_filter = concurrency.gather(
        functools.partial(dynamodb.batch_get, keys, eventual=_EVENTUAL),
        functools.partial(memberships.read_memberships, token.user_id, forgotten=True),
        functools.partial(_filter, token.user_id, filter_text),
    )
    if known is None:
        known = _identity(token, since, found)
    else:
        verify(token, next(iter(found["users"]), None))
    items = {(item["stream_id"], item["sk"]): item for item in found[streams.TABLE]}
    return FirstLook(
        identity=known,
        filter=sync_filter,
        memberships=rows,
        user_head=_seq(items, user),
        device_head=_seq(items, device),
        push_changes=_push_changes(items),
        presence=items.get((user, presence.KEY)),
    )


def is_unchanged(first: FirstLook) -> bool:
    """Return whether the memberships and the heads of the user's own streams still are as they were read."""
    user_id, device_id = first.requester.user_id, first.requester.device_id
    user, device = streams.user_stream(user_id), streams.device_stream(user_id, device_id)
    found, rows = concurrency.gather(
        functools.partial(
            dynamodb.batch_get, {streams.TABLE: [streams.head_key(user), streams.head_key(device)]}
        ),
        functools.partial(memberships.read_memberships, user_id, forgotten=True),
    )
    items = {(item["stream_id"], item["sk"]): item for item in found[streams.TABLE]}
    heads = _seq(items, user), _seq(items, device)
    return heads == (first.user_head, first.device_head) and list(rows) == list(first.memberships)


_EVENTUAL = (listeners.TABLE, tokens.TABLE)


def _identity_keys(token: AccessToken, since: str | None) -> dict[str, list[dict[str, str]]]:
    keys = {"users": [token.key], listeners.TABLE: [{"user_id": token.user_id}]}
    if since is not None:
        keys[tokens.TABLE] = [tokens.token_key(token.user_id, since)]
    return keys


def _identity(token: AccessToken, since: str | None, found: Mapping[str, Sequence[Item]]) -> Identity:
    requester = verify(token, next(iter(found["users"]), None))
    return Identity(requester, _base(token, since, found), next(iter(found[listeners.TABLE]), None))


def _base(token: AccessToken, since: str | None, found: Mapping[str, Sequence[Item]]) -> Positions | None:
    if since is None:
        return None
    row = next(iter(found[tokens.TABLE]), None)
    if row is None:
        # Written a moment ago, a token may not have reached the replica that was asked.
        row = dynamodb.get(tokens.TABLE, tokens.token_key(token.user_id, since))
    return tokens.positions_of(row, token.device_id)


def _seq(heads: Mapping[tuple[str, str], Item], stream: str) -> int:
    return streams.head_seq(heads.get((stream, streams.HEAD)))


def _push_changes(items: Mapping[tuple[str, str], Item]) -> Changes:
    key = account_data.data_key("", "m.push_rules")
    return next((account_data.content_of(item) for (_, sk), item in items.items() if sk == key), {})


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
