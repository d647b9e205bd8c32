"""A sliding sync's first round trip: the requester, their connection's state, their memberships and
streams.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from murmuration.aws import concurrency
from murmuration.aws.reads import fetch_all
from murmuration.identity.tokens import AccessToken, Requester
from murmuration.protocol.event_types import DIRECT, IGNORED_USERS, INVITE_PERMISSION, PUSH_RULES
from murmuration.protocol.filters import SyncFilter
from murmuration.protocol.sliding.requests import SlidingRequest
from murmuration.storage.live import sliding_positions, streams
from murmuration.storage.live.positions import Positions
from murmuration.storage.live.sliding_positions import Connection, ConnectionState, Place
from murmuration.storage.users import memberships
from murmuration.sync.first_look import Facts, FirstLook, Identity, read_facts

if TYPE_CHECKING:
    from murmuration.aws.dynamodb import StoredItem
    from murmuration.protocol.push_rules.ruleset import Changes

TYPES = (PUSH_RULES, DIRECT, IGNORED_USERS, INVITE_PERMISSION)
"""The account data that decides what is shown."""


@dataclass(frozen=True, slots=True)
class Look:
    """The result of the first round trip. `place` is None for a new connection."""

    facts: Facts
    connection: Connection
    place: Place | None
    first: FirstLook

    @property
    def requester(self) -> Requester:
        return self.first.requester

    @property
    def listener(self) -> StoredItem | None:
        return self.first.identity.listener

    def state(self) -> ConnectionState:
        """Return a copy of the client's state. A new connection starts at the current end of the user's
        stream.
        """
        if self.place is not None:
            return self.place.state.copy()
        return ConnectionState(Positions(user=self.facts.user_head))


def look(token: AccessToken, request: SlidingRequest, known: Look | None = None) -> Look:
    """Read everything in one round trip. With a `known` look, verify the token again and read only the rest.

    Raises UnknownToken, UnknownPos, Unavailable.
    """
    user_id, device_id = token.user_id, token.device_id
    if request.pos is not None:
        row = sliding_positions.row_key(user_id, device_id, request.pos)
    else:
        row = sliding_positions.numbers_key(user_id, device_id)
    facts = read_facts(token, row, is_known=known is not None, types=TYPES)
    if known is not None:
        return Look(facts, known.connection, known.place, _first(facts, known.first.identity))
    place = None
    if request.pos is not None:
        place = sliding_positions.place_of(facts.row, user_id, device_id, request.conn_id, request.pos)
        connection = place.connection
    else:
        connection = sliding_positions.begin(user_id, device_id, request.conn_id, facts.row)
    base = place.state.positions if place is not None else Positions(user=facts.user_head)
    return Look(facts, connection, place, _first(facts, Identity(facts.requester, base, facts.listener)))


def is_unchanged(found: Look) -> bool:
    """Return whether the memberships and the heads of the user's own streams are still as they were read."""
    facts, user_id, device_id = found.facts, found.requester.user_id, found.requester.device_id
    user, device = streams.user_stream(user_id), streams.device_stream(user_id, device_id)
    heads, rows = concurrency.gather(
        functools.partial(fetch_all, [streams.seq_read(user), streams.seq_read(device)]),
        functools.partial(memberships.read_memberships, user_id, forgotten=True),
    )
    return heads == [facts.user_head, facts.device_head] and list(rows) == list(facts.memberships)


def _first(facts: Facts, identity: Identity) -> FirstLook:
    return FirstLook(
        identity=identity,
        filter=SyncFilter(),
        memberships=facts.memberships,
        user_head=facts.user_head,
        device_head=facts.device_head,
        push_changes=cast("Changes", facts.contents.get(PUSH_RULES, {})),
        presence=facts.presence,
    )
