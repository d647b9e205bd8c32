"""Presence across servers, in both directions, if the operator enables it (`federated_presence`).

Outgoing: a local user's presence is sent to the other servers in their rooms, except in rooms with more than
50 other servers, and to at most a hundred servers. It is sent when it changes. While it lasts it is sent
again every twenty minutes, because a server shows a user as offline if it hears nothing for half an hour.

Incoming: presence is stored only of users whom a local user may be looking at (`presence/elsewhere.py`).
https://spec.matrix.org/v1.19/server-server-api/#presence
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, cast

from murmuration.clock import now_ms
from murmuration.federation.ephemera.sending import send_edus, servers_in
from murmuration.federation.ephemera.taking import may_go_on
from murmuration.presence import status
from murmuration.protocol.identifiers import is_compliant_user_of
from murmuration.protocol.presence import OFFLINE, TODAYS, Presence, as_today
from murmuration.settings import settings
from murmuration.storage.rooms import member_index, room_items
from murmuration.storage.servers import remote_presence
from murmuration.storage.users import memberships, presence
from murmuration.storage.users.presence import NewPresence

if TYPE_CHECKING:
    from murmuration.aws.dynamodb import StoredItem
    from murmuration.federation.inbound.transactions.edus import Contents
    from murmuration.federation.shapes import PresencePush
    from murmuration.protocol.encoding.shapes import Untrusted
    from murmuration.protocol.identifiers import ServerName, UserId

SERVERS = 50
"""In rooms with more other servers than this, presence isn't sent."""
MOST_SERVERS = 100
"""The maximum number of servers that get one user's presence."""
MOST_ROOMS = 200
MOST_USERS = 100
"""The maximum number of users whose presence is taken from one incoming transaction."""
REPEATED_MS, WINDOW_MS = 1_200_000, 660_000
"""A lasting presence is sent again once in each period, within the period's first WINDOW_MS. The presence of
a user who is online is written at least once in a window."""

# -- Out -----------------------------------------------------------------------------------------------------


def order_presence(items: Iterable[StoredItem]) -> None:
    """Queue EDUs about presence, given new items of the table `streams`. Safe to repeat."""
    config = settings()
    if not (config.federation and config.federated_presence):
        return
    told = {user_id: new for user_id, new in presence.stored_of(items).items() if _is_told(user_id, new)}
    by_users: dict[tuple[UserId, ...], list[ServerName]] = {}
    users: dict[ServerName, list[UserId]] = {}
    for user_id in sorted(told):
        for server in _servers_of(user_id):
            users.setdefault(server, []).append(user_id)
    for server, some in users.items():
        by_users.setdefault(tuple(some), []).append(server)
    now = now_ms()
    for some_users, servers in by_users.items():
        push = [_said(user_id, told[user_id].presence, now) for user_id in some_users]
        send_edus([{"edu_type": "m.presence", "content": {"push": push}}], servers, now)


def _is_told(user_id: UserId, new: NewPresence) -> bool:
    if not member_index.is_local(user_id):
        return False
    return new.changed or (new.age_ms >= REPEATED_MS and new.age_ms % REPEATED_MS < WINDOW_MS)


def _said(user_id: UserId, one: Presence, now: int) -> PresencePush:
    content = one.content(as_today(one.shown(now)), now)
    content.pop("capabilities", None)
    return {"user_id": user_id, "last_active_ago": 0, **content}


def _servers_of(user_id: UserId) -> Sequence[ServerName]:
    """Return the servers that get a user's presence, those in small rooms first."""
    rooms = memberships.read_joined_rooms(user_id)
    heads = [head for head in room_items.read_heads(rooms[:MOST_ROOMS]).values() if head.federated]
    found: dict[ServerName, None] = {}
    for head in sorted(heads, key=lambda head: head.joined):
        servers = servers_in(head.room_id)
        if len(servers) <= SERVERS:
            found |= dict.fromkeys(servers)
    return list(found)[:MOST_SERVERS]


# -- In ------------------------------------------------------------------------------------------------------


def take_presence(origin: ServerName, contents: Contents) -> None:
    """Store the presence in a transaction's `m.presence` EDUs, for each user the last one."""
    if not settings().federated_presence:
        return
    newest = {push["user_id"]: push for content in contents for push in _pushes(origin, content)}
    pushes = dict(list(newest.items())[-MOST_USERS:])
    seen = remote_presence.read_rooms(list(pushes))
    if not seen or not may_go_on(origin, len(seen)):
        return
    now = now_ms()
    for user_id in sorted(seen):
        push = pushes[user_id]
        message = push.get("status_msg")
        message = message[: status.MOST_STATUS_CHARACTERS] if isinstance(message, str) else None
        status.note_elsewhere(user_id, push["presence"], message, _active_ms(push, now))


def _pushes(origin: ServerName, content: Untrusted) -> Iterator[PresencePush]:
    pushes = content.get("push")
    for push in pushes if isinstance(pushes, list) else ():
        if (
            isinstance(push, dict)
            and is_compliant_user_of(push.get("user_id"), origin)
            and push.get("presence") in TODAYS
        ):
            yield cast("PresencePush", push)


def _active_ms(push: PresencePush, now: int) -> int:
    """Return when the user was last active, in milliseconds; 0 if the EDU doesn't say."""
    if push.get("currently_active") is True and push["presence"] != OFFLINE:
        return now
    ago = push.get("last_active_ago")
    return now - ago if isinstance(ago, int) and not isinstance(ago, bool) and 0 <= ago <= now else 0
