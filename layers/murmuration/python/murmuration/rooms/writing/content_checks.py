"""Contents that no client may send, because other clients or this server would fail on them.

The authorisation rules allow them, so events of other servers may have them. Missing properties are allowed
too: only a property with a wrong type is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from murmuration.protocol.encoding.shapes import Content
from murmuration.protocol.errors import BadJson, InvalidParam
from murmuration.protocol.event_types import (
    AVATAR,
    MEMBER,
    MESSAGE,
    NAME,
    SERVER_ACL,
    TOMBSTONE,
    TOPIC,
)
from murmuration.protocol.server_acl import ServerAcl
from murmuration.settings import settings

_STRINGS: Final[Mapping[str, tuple[str, ...]]] = {
    MESSAGE: ("body", "msgtype"),
    NAME: ("name",),
    TOPIC: ("topic",),
    TOMBSTONE: ("body", "replacement_room"),
}
"""Properties that clients show as text, by event type."""
_ONLY_STATE = frozenset((MEMBER, NAME, TOPIC, AVATAR, TOMBSTONE, SERVER_ACL))
"""Types that clients may take for the room's state, although a message of such a type changes nothing."""
_LONGEST: Final[Mapping[str, int]] = {"displayname": 256, "avatar_url": 1000}
"""The maximum number of characters for the parts of a profile in a membership event."""


def check_content(event_type: str, content: Content, *, is_state: bool) -> None:
    """Check the content of an event that a client sends to a room.

    Raises InvalidParam for a message with a type of state, BadJson for a property of a wrong type and for a
    server ACL that would exclude this server: no local user could undo it.
    """
    if event_type in _ONLY_STATE and not is_state:
        raise InvalidParam(f"An event of type {event_type} needs a state key")
    for name in _STRINGS.get(event_type, ()):
        if name in content and not isinstance(content[name], str):
            raise BadJson(f"{name} must be a string")
    if event_type == AVATAR and not isinstance(content.get("url"), str | None):
        raise BadJson("url must be a string, or null for no avatar")
    if "m.mentions" in content:
        _check_mentions(content["m.mentions"])
    if event_type == SERVER_ACL and not ServerAcl(content).allows(settings().server_name):
        raise BadJson("This server ACL would shut out this server")


def check_profile(content: Content) -> None:
    """Check the profile in a membership event that a client sends. Raises BadJson."""
    for name, longest in _LONGEST.items():
        value = content.get(name)
        if value is not None and (not isinstance(value, str) or len(value) > longest):
            raise BadJson(f"{name} must be a string of at most {longest} characters")


def _check_mentions(mentions: object) -> None:
    """Raise BadJson unless the mentions have the specified form.

    https://spec.matrix.org/v1.19/client-server-api/#user-and-room-mentions
    """
    if not isinstance(mentions, dict):
        raise BadJson("m.mentions must be an object")
    users = mentions.get("user_ids", [])
    if not isinstance(users, list) or not all(isinstance(user_id, str) for user_id in users):
        raise BadJson("user_ids of m.mentions must be a list of user IDs")
    if not isinstance(mentions.get("room", False), bool):
        raise BadJson("room of m.mentions must be true or false")
