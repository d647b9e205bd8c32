"""Whom of this server may be invited. `federation.membership.inviting` invites users of other servers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from murmuration.aws.reads import fetch_all
from murmuration.protocol.bodies import Fields
from murmuration.protocol.errors import Forbidden, InviteBlocked, ServerNotTrusted
from murmuration.protocol.event_types import INVITE_PERMISSION
from murmuration.protocol.identifiers import parse_user_id
from murmuration.settings import settings
from murmuration.storage.users import account_data


def invitee(body: Fields) -> str:
    """The user that a request names. Raises ServerNotTrusted for an address, MissingParam, BadJson."""
    if "user_id" not in body.values and "address" in body.values:
        refuse_addresses([body])
    return body.string("user_id")


def refuse_addresses(invites: Sequence[object]) -> None:
    """Raises ServerNotTrusted if there are any: whose they are only identity servers know."""
    if invites:
        raise ServerNotTrusted("This server asks no identity server, so it invites nobody by their address")


def check_invitees(inviter: str, user_ids: Iterable[str], *, elsewhere: bool = False) -> None:
    """Raises InvalidParam for what isn't a user ID, Forbidden for users that can't be invited, InviteBlocked.

    With `elsewhere` users of other servers may be: their servers are asked when the invite is added.
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


def check_takes_invites(*user_ids: str) -> None:
    """Raises InviteBlocked where one of these users of this server takes no invites. One read."""
    reads = [account_data.content_read(user_id, "", INVITE_PERMISSION) for user_id in user_ids]
    for content in fetch_all(reads):
        if blocks_invites(content or {}):
            raise InviteBlocked("Somebody whom you invite takes no invites")


def blocks_invites(content: Mapping[str, Any]) -> bool:
    """Whether an m.invite_permission_config keeps all invites away."""
    return content.get("default_action") == "block"
