"""Who may be invited: users of this server, as other servers are not reached yet."""

from __future__ import annotations

from collections.abc import Iterable

from murmuration.protocol.errors import Forbidden
from murmuration.protocol.identifiers import parse_user_id
from murmuration.settings import settings


def check_invitees(inviter: str, user_ids: Iterable[str]) -> None:
    """Raises InvalidParam for what isn't a user ID, Forbidden for users that can't be invited."""
    for user_id in user_ids:
        if parse_user_id(user_id).server_name != settings().server_name:
            raise Forbidden(f"{user_id} is on another homeserver, which this one can't reach")
        if user_id == inviter:
            raise Forbidden("You can't invite yourself")
