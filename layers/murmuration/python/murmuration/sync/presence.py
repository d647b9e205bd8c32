"""Presence in a sync: users whose presence changed, and users who were shown as online until a time that has
passed.

https://spec.matrix.org/v1.19/client-server-api/#presence
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from murmuration.aws import concurrency
from murmuration.presence.telling import SMALL_ROOM
from murmuration.presence.views import look_at
from murmuration.protocol.presence import OFFLINE
from murmuration.protocol.sizes import Budget, json_bytes
from murmuration.storage.live.positions import Positions
from murmuration.storage.rooms.local_members import members_at
from murmuration.storage.rooms.room_items import RoomHead
from murmuration.storage.users import presence, presence_lists
from murmuration.sync.context import Context

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import ClientEvent
    from murmuration.protocol.identifiers import UserId

INVITE: Final = "m.presence_invite"
MOST_BYTES = 300_000
"""The maximum size of the events in one answer. Other users are shown when they change again."""
MOST_FOLLOWED = 100
"""How many users a token remembers as online: those shown last. For others, going offline isn't shown."""

MOST_ASKED = 500
"""How many members of small rooms a first sync looks up."""


def members_there(ctx: Context, heads: Iterable[RoomHead]) -> dict[UserId, str]:
    """Return the online members of small rooms, each with the room through which they are seen, for a first
    sync.

    Online members of large rooms have markers in the rooms' streams. Two round trips if there are small rooms
    with other members.
    """
    small = [head for head in heads if 1 < head.joined <= SMALL_ROOM]
    if not small or ctx.filter.presence.admits_nothing:
        return {}
    calls = [functools.partial(members_at, head.room_id, head.state_root) for head in small]
    via: dict[UserId, str] = {}
    for head, members in zip(small, concurrency.parallel(*calls), strict=True):
        via |= dict.fromkeys(members, head.room_id)
    via.pop(ctx.user_id, None)
    known = presence.read_many(list(itertools.islice(via, MOST_ASKED)))
    return {user_id: via[user_id] for user_id, theirs in known.items() if theirs.shown(ctx.now_ms) != OFFLINE}


def overdue(ctx: Context) -> dict[UserId, str]:
    """Return the users who were shown as online until a time that has passed, each with its `via`."""
    if ctx.base is None:
        return {}
    return {user_id: via for user_id, (until, via, _) in ctx.base.present.items() if until <= ctx.now_ms}


def presence_events(
    ctx: Context, positions: Positions, told: Mapping[UserId, str], joined: Collection[str]
) -> list[ClientEvent]:
    """Return the presence events of the users in `told`, and of those whose time has passed.

    `told` has the room through which each user is seen (empty: a presence list); `joined` are the rooms that
    the user is in now. Updates `positions`.
    """
    changed = {**overdue(ctx), **told}
    visible = {user_id for user_id, via in changed.items() if via in joined or _by_list(ctx, user_id)}
    followed = {user_id: entry for user_id, entry in positions.present.items() if user_id not in changed}
    events = []
    budget = Budget(MOST_BYTES)
    for seen in look_at(visible - ctx.ignored):
        own = seen.user_id == ctx.user_id
        state = seen.presence.own(ctx.now_ms) if own else seen.presence.shown(ctx.now_ms)
        event = seen.event(ctx.reader.presence_state(state), ctx.now_ms)
        if not budget.take(json_bytes(event) + 1):
            break
        if state != OFFLINE and not own:
            followed[seen.user_id] = (seen.presence.ends_ms(ctx.now_ms), changed[seen.user_id], state)
        _, _, before = positions.present.get(seen.user_id, (0, "", OFFLINE))
        if state == before and (seen.user_id not in told or ctx.base is None):
            continue
        if ctx.filter.presence.matches(event):
            events.append(event)
    positions.present = dict(list(followed.items())[-MOST_FOLLOWED:])
    return events


def invites(ctx: Context, asking: Collection[str]) -> list[ClientEvent]:
    """Return the events about users in `asking` who wait for permission to see the user's presence."""
    waiting = presence_lists.read_asking(ctx.user_id, set(asking) - ctx.ignored)
    events: list[ClientEvent] = [{"type": INVITE, "sender": observer, "content": {}} for observer in waiting]
    return [event for event in events if ctx.filter.presence.matches(event)]


def _by_list(ctx: Context, user_id: UserId) -> bool:
    return user_id == ctx.user_id or presence_lists.is_granted(ctx.user_id, user_id)


def next_end_ms(positions: Positions) -> int:
    """Return when the first of the users shown as online may be offline; 0 if there are none."""
    return min((until for until, _, _ in positions.present.values()), default=0)
