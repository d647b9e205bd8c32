"""Checks of invites to local users. `federation.membership.inviting` invites users of other servers."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

from murmuration.aws import concurrency
from murmuration.aws.reads import fetch_all
from murmuration.clock import now_ms
from murmuration.protocol.bodies import Fields
from murmuration.protocol.encoding.shapes import Content
from murmuration.protocol.errors import Forbidden, InviteBlocked, ServerNotTrusted
from murmuration.protocol.event_types import INVITE_PERMISSION
from murmuration.protocol.identifiers import UserId, parse_user_id
from murmuration.settings import settings
from murmuration.storage.users import account_data, memberships
from murmuration.storage.users.memberships import Membership

MOST_INVITES = 500
"""How many open invites a user may have. With the rooms' stripped state they take up to 8 MB."""
MOST_ENDED = 500
"""How many rows of ended invites of a user are kept, for devices that were told of the invite."""
ENDED_MS = 40 * 86_400_000
"""How long they are kept. A device without requests for this time begins with a first sync."""
PURGED_AT_ONCE = 20


def invitee(body: Fields) -> UserId:
    """Return the user whom a request invites.

    Raises ServerNotTrusted for an address, MissingParam, BadJson.
    """
    if "user_id" not in body.values and "address" in body.values:
        refuse_addresses([body])
    return body.user_id()


def refuse_addresses(invites: Sequence[object]) -> None:
    """Raise ServerNotTrusted if there are addresses: only an identity server knows to whom they belong."""
    if invites:
        raise ServerNotTrusted("This server uses no identity server, so it can't invite by address")


def check_invitees(inviter: UserId, user_ids: Iterable[UserId], *, elsewhere: bool = False) -> None:
    """Raise an error if one of the users can't be invited.

    Raises InvalidParam for an invalid user ID, Forbidden, InviteBlocked. With `elsewhere` users of other
    servers are allowed: their servers are asked when the invite is added.
    https://spec.matrix.org/v1.19/client-server-api/#invite-permission
    """
    invited = []
    for user_id in dict.fromkeys(user_ids):
        if parse_user_id(user_id).server_name == settings().server_name:
            invited.append(user_id)
        elif not elsewhere:
            raise Forbidden(f"{user_id} is on another homeserver, whose users can't be invited in this way")
        if user_id == inviter:
            raise Forbidden("You can't invite yourself")
    if not invited:
        return
    check_takes_invites(*invited)


def check_takes_invites(*user_ids: UserId) -> None:
    """Raise InviteBlocked if one of these local users blocks all invites, or has too many open ones.

    Each of the user's syncs reads every invite, also those that were withdrawn or turned down. With too many
    of them the user couldn't sync any more. So this deletes invites that ended long ago, and the oldest of
    too many.
    """
    reads = [account_data.content_read(user_id, "", INVITE_PERMISSION) for user_id in user_ids]
    counts = (functools.partial(memberships.read_invites, user_id) for user_id in user_ids)
    contents, invites = concurrency.gather(
        functools.partial(fetch_all, reads), functools.partial(concurrency.parallel, *counts)
    )
    if any(blocks_invites(content or {}) for content in contents):
        raise InviteBlocked("A user whom you invite accepts no invites")
    if any(of_user.opened >= MOST_INVITES for of_user in invites):
        raise InviteBlocked("A user whom you invite has too many unanswered invites")
    due = [row for of_user in invites for row in _purgeable(of_user.ended)]
    concurrency.parallel(*(functools.partial(_purge, row) for row in due))


def _purgeable(ended: Sequence[Membership]) -> Sequence[Membership]:
    """Return the rows of ended invites to delete now, the oldest first: few, so that it is quick."""
    oldest = sorted(ended, key=lambda row: row.changed_ms or 0)
    number = max(0, len(oldest) + 1 - MOST_ENDED)
    until = now_ms() - ENDED_MS
    return [row for place, row in enumerate(oldest) if place < number or (row.changed_ms or 0) < until][
        :PURGED_AT_ONCE
    ]


def _purge(row: Membership) -> None:
    """Delete the row of an ended invite, unless the user was in the room before it, or wrote a reason.

    Such a user may still see the events until they left, and if they are erased, so is what they wrote.
    """
    from murmuration.rooms.reading.visibility import has_stayed

    if not row.is_outside and (has_stayed(row) or _gave_reason(row)):
        memberships.note_stay(row)
    else:
        memberships.purge(row)


def _gave_reason(row: Membership) -> bool:
    """Return whether the user ended the invite with more than was necessary."""
    from murmuration.storage.rooms import room_items

    if row.sender != row.user_id or row.ordinal is None:
        return False
    head = room_items.read_head(row.room_id)
    if head is None:
        return False
    entries = room_items.read_log_entries([(row.room_id, row.ordinal)], {row.room_id: head.version})
    return any(set(entry.event.content) != {"membership"} for entry in entries)


def blocks_invites(content: Content) -> bool:
    """Return whether an m.invite_permission_config blocks all invites."""
    return content.get("default_action") == "block"
