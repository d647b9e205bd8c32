"""Checks of invites to local users. `federation.membership.inviting` invites users of other servers."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

from murmuration.aws import concurrency
from murmuration.aws.reads import fetch_all
from murmuration.protocol.bodies import Fields
from murmuration.protocol.encoding.shapes import Content
from murmuration.protocol.errors import Forbidden, InviteBlocked, ServerNotTrusted
from murmuration.protocol.event_types import INVITE_PERMISSION
from murmuration.protocol.identifiers import UserId, parse_user_id
from murmuration.settings import settings
from murmuration.storage.users import account_data, memberships

MOST_INVITES = 500
"""How many open invites a user may have. With the rooms' stripped state they take up to 8 MB."""


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
        raise ServerNotTrusted("This server asks no identity server, so it invites nobody by their address")


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

    Each of the user's syncs reads every open invite, so with too many of them they couldn't sync any more.
    """
    reads = [account_data.content_read(user_id, "", INVITE_PERMISSION) for user_id in user_ids]
    counts = (functools.partial(memberships.has_invites, user_id, MOST_INVITES) for user_id in user_ids)
    contents, full = concurrency.gather(
        functools.partial(fetch_all, reads), functools.partial(concurrency.parallel, *counts)
    )
    if any(blocks_invites(content or {}) for content in contents):
        raise InviteBlocked("Somebody whom you invite takes no invites")
    if any(full):
        raise InviteBlocked("Somebody whom you invite has too many invites to answer")


def blocks_invites(content: Content) -> bool:
    """Return whether an m.invite_permission_config blocks all invites."""
    return content.get("default_action") == "block"
