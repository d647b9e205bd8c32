"""Contents that no client may send, because other clients or this server would fail on them.

The authorisation rules allow them, so events of other servers may have them. Most of what Synapse refuses is
refused: properties that clients show without a look at their type, levels that are no numbers, state that
would shut out this server. Missing properties are allowed: bots leave some out, and clients show nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from murmuration.protocol.encoding.shapes import Content
from murmuration.protocol.errors import BadJson, InvalidParam
from murmuration.protocol.event_types import (
    ALIASES,
    AVATAR,
    MEMBER,
    MESSAGE,
    NAME,
    POWER_LEVELS,
    RETENTION,
    SERVER_ACL,
    TOMBSTONE,
    TOPIC,
)
from murmuration.protocol.pdus.event_format import MAX_FIELD_BYTES
from murmuration.protocol.power_levels import DEFAULT_LEVELS
from murmuration.protocol.server_acl import ServerAcl
from murmuration.settings import settings

_STRINGS: Final[Mapping[str, tuple[str, ...]]] = {
    MESSAGE: ("body", "msgtype"),
    NAME: ("name",),
    TOPIC: ("topic",),
    TOMBSTONE: ("body", "replacement_room"),
}
"""Properties that clients show as text, by event type."""
_ONLY_STATE = frozenset((MEMBER, NAME, TOPIC, AVATAR, TOMBSTONE, SERVER_ACL, RETENTION))
"""Types that clients may take for the room's state, although a message of such a type changes nothing."""
_LEVELS_BY_NAME = ("events", "notifications", "users")
"""The parts of power levels that are objects with a level for each name."""
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
    if "m.mentions" in content:
        _check_mentions(content["m.mentions"])
    if event_type in _CHECKS:
        _CHECKS[event_type](content)


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


def _check_levels(content: Content) -> None:
    """Raise BadJson for a power level that is neither an integer nor a string.

    Rooms before version 10 allow strings. Whether a level suits the room is for the authorisation rules to
    say.
    """
    levels = [(name, content[name]) for name in DEFAULT_LEVELS if name in content]
    for section in _LEVELS_BY_NAME:
        within = content.get(section, {})
        if not isinstance(within, dict):
            raise BadJson(f"{section} must be an object")
        levels += within.items()
    for name, level in levels:
        if type(level) not in (int, str):
            raise BadJson(f"The power level of {name[:80]} must be an integer")


def _check_lifetimes(content: Content) -> None:
    """Raise BadJson for lifetimes of messages that mean nothing."""
    least, most = content.get("min_lifetime"), content.get("max_lifetime")
    for value in (least, most):
        if value is not None and type(value) is not int:
            raise BadJson("min_lifetime and max_lifetime must be integers")
    if least is not None and most is not None and least > most:
        raise BadJson("min_lifetime can't be greater than max_lifetime")


def _check_avatar(content: Content) -> None:
    """Raise BadJson for a room's avatar that is no text; null means none."""
    if not isinstance(content.get("url"), str | None):
        raise BadJson("url must be a string, or null for no avatar")


def _check_server_acl(content: Content) -> None:
    """Raise BadJson for a server ACL that excludes this server."""
    if not ServerAcl(content).allows(settings().server_name):
        raise BadJson("This server ACL would shut out this server")


def _check_aliases(content: Content) -> None:
    """Raise BadJson for aliases that are no list of strings, InvalidParam for one that is too long."""
    aliases = content.get("aliases", [])
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        raise BadJson("aliases must be a list of strings")
    if any(len(alias) > MAX_FIELD_BYTES for alias in aliases):
        raise InvalidParam(f"An alias has at most {MAX_FIELD_BYTES} characters")


_CHECKS: Final[Mapping[str, Callable[[Content], None]]] = {
    ALIASES: _check_aliases,
    AVATAR: _check_avatar,
    POWER_LEVELS: _check_levels,
    RETENTION: _check_lifetimes,
    SERVER_ACL: _check_server_acl,
}
"""Checks of a whole content, by event type."""
