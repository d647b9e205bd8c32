"""The content of membership events: the membership and the user's current profile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from murmuration.storage.users.profiles import read_member_fields

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import JsonDict
    from murmuration.protocol.identifiers import UserId
    from murmuration.storage.users.profiles import ProfileFields


def member_content(
    user_id: UserId,
    membership: str,
    *,
    profile: ProfileFields | None = None,
    reason: str | None = None,
    **more: Any,
) -> JsonDict:
    """Return a content with `membership`, the user's display name and avatar, and `more`, without empty
    values.

    Pass `profile` to save its read.
    """
    shown = read_member_fields(user_id) if profile is None else profile
    content: JsonDict = {"membership": membership, **shown}
    if reason is not None:
        content["reason"] = reason
    return content | {name: value for name, value in more.items() if value}
