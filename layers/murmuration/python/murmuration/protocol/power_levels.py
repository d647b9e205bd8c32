"""Decides what each user may do in a room, by its m.room.power_levels event and the defaults.

https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from murmuration.protocol.encoding.shapes import Content
from murmuration.protocol.identifiers import UserId

if TYPE_CHECKING:
    from murmuration.protocol.events import Event
    from murmuration.protocol.room_versions import RoomVersion

Level: TypeAlias = int | float
"""A power level: an integer, or `INFINITE`."""

INFINITE: Final = math.inf
"""The level of the creators of a room from version 12 on."""

CREATOR_LEVEL = 100
"""The level of the creator of a room without an m.room.power_levels event, before version 12."""

DEFAULT_LEVELS: Mapping[str, int] = {
    "users_default": 0,
    "events_default": 0,
    "state_default": 50,
    "ban": 50,
    "redact": 50,
    "kick": 50,
    "invite": 0,
}
"""The integer-valued properties of the content, in the specification's order, with their defaults."""

_INTEGER_STRING = re.compile(r"\s*([+-]?)([0-9]+)\s*")
# The largest finite binary64, 1.8e308, has 309 digits.
_MOST_DIGITS = 309


def parse_level(value: object, version: RoomVersion) -> int:
    """Return the integer that a value of the content means in that room version. Raises ValueError if it
    means none.

    Integers are always allowed; before version 10 also strings with an integer; before version 6 also floats,
    which are truncated. Values must be within the range of binary64.
    https://spec.matrix.org/v1.19/rooms/v5/#deprecated-event-content-schemas
    """
    if type(value) is int:
        if not version.strict_canonical_json:
            _refuse_beyond_binary64(value)
        return value
    if isinstance(value, str) and not version.integer_power_levels:
        match = _INTEGER_STRING.fullmatch(value)
        digits = match[2].lstrip("0") if match else ""
        if match is None or len(digits) > _MOST_DIGITS:
            raise ValueError("This string is not an integer")
        return _refuse_beyond_binary64(int(match[1] + (digits or "0")))
    if isinstance(value, float) and not version.strict_canonical_json and math.isfinite(value):
        return int(value)
    raise ValueError("This is not a power level")


def _refuse_beyond_binary64(value: int) -> int:
    try:
        float(value)
    except OverflowError as error:
        raise ValueError("This integer is beyond the range of binary64") from error
    return value


def creators_of(create: Event) -> frozenset[UserId]:
    """Return the users who created the room: the create event's sender and, from version 12,
    `additional_creators`.

    Before version 11 it is the content's `creator`.
    """
    version = create.room_version
    if not version.implicit_room_creator:
        creator = create.content.get("creator")
        return frozenset({UserId(creator)} if isinstance(creator, str) else ())
    additional = create.content.get("additional_creators") if version.additional_creators else None
    if not isinstance(additional, list):
        return frozenset({create.sender})
    return frozenset(
        {create.sender, *(UserId(user_id) for user_id in additional if isinstance(user_id, str))}
    )


class PowerLevels:
    """The levels of a room's users, and the levels that actions need.

    A malformed value counts as missing. The authorisation rules keep such values out of rooms, except in a
    room's first m.room.power_levels event before version 10.
    """

    __slots__ = ("_content", "_creators", "_entry_levels", "_version")

    def __init__(self, content: Content | None, creators: frozenset[UserId], version: RoomVersion) -> None:
        """Read the `content` of the m.room.power_levels event; None if the room has none."""
        self._content = content
        self._creators = creators
        self._version = version
        self._entry_levels: dict[str, dict[str, int]] = {}

    @classmethod
    def from_state(
        cls, create: Event | None, power_levels: Event | None, version: RoomVersion
    ) -> PowerLevels:
        """Return the levels by two events of a room's state; either may be missing."""
        return cls(
            power_levels.content if power_levels else None,
            creators_of(create) if create else frozenset(),
            version,
        )

    def user_level(self, user_id: UserId) -> Level:
        """Return the user's level, `INFINITE` for a creator from room version 12 on."""
        if user_id in self._creators:
            if self._version.privileged_creators:
                return INFINITE
            if self._content is None:
                return CREATOR_LEVEL
        level = self._entry("users", user_id)
        return self._named("users_default") if level is None else level

    def event_level(self, event_type: str, is_state: bool) -> int:
        """Return the level needed to send events of that type."""
        level = self._entry("events", event_type)
        if level is None:
            return self._named("state_default" if is_state else "events_default")
        return level

    def named_users(self) -> frozenset[UserId]:
        """Return the users that `users` names, and those whose level isn't the default."""
        return self._creators | cast("dict[UserId, int]", self.entry_levels("users")).keys()

    @property
    def users_default(self) -> int:
        return self._named("users_default")

    @property
    def invite(self) -> int:
        return self._named("invite")

    @property
    def kick(self) -> int:
        return self._named("kick")

    @property
    def ban(self) -> int:
        return self._named("ban")

    @property
    def redact(self) -> int:
        return self._named("redact")

    def can_send(self, user_id: UserId, event_type: str, is_state: bool) -> bool:
        """Return whether the level suffices to send that type of event. Membership events need levels of
        their own.
        """
        return self.user_level(user_id) >= self.event_level(event_type, is_state)

    def can_invite(self, user_id: UserId) -> bool:
        return self.user_level(user_id) >= self.invite

    def can_kick(self, user_id: UserId, target_id: UserId) -> bool:
        """Return whether the level suffices to kick the target; it must also be above the target's."""
        level = self.user_level(user_id)
        return level >= self.kick and self.user_level(target_id) < level

    def can_ban(self, user_id: UserId, target_id: UserId) -> bool:
        """Return whether the level suffices to ban the target; it must also be above the target's."""
        level = self.user_level(user_id)
        return level >= self.ban and self.user_level(target_id) < level

    def can_redact(self, user_id: UserId) -> bool:
        """Return whether the level suffices to redact others' events. Sending redactions needs a level of its
        own.
        """
        return self.user_level(user_id) >= self.redact

    # --- The content as written, for the rules about changing it

    def property_level(self, name: str) -> int | None:
        """Return the level that the content sets for one of `DEFAULT_LEVELS`; None if it doesn't set it."""
        return self._parsed(self._content, name)

    def entry_levels(self, section: str) -> dict[str, int]:
        """Return the levels in the content's `users`, `events` or `notifications`. They must not be
        changed.
        """
        levels = self._entry_levels.get(section)
        if levels is None:
            entries = self._section(section)
            parsed = ((name, self._parsed(entries, name)) for name in entries)
            levels = {name: level for name, level in parsed if level is not None}
            self._entry_levels[section] = levels
        return levels

    def malformed(self, names: Iterable[str]) -> Iterator[str]:
        """Yield those properties and sections whose values aren't power levels in this room version."""
        content = self._content or {}
        for name in names:
            if name in content and not self._is_well_formed(content, name):
                yield name

    def _is_well_formed(self, content: Content, name: str) -> bool:
        if name in DEFAULT_LEVELS:
            return self._parsed(content, name) is not None
        return isinstance(content[name], dict) and len(self.entry_levels(name)) == len(content[name])

    def _named(self, name: str) -> int:
        level = self._parsed(self._content, name)
        return DEFAULT_LEVELS[name] if level is None else level

    def _entry(self, section: str, name: str) -> int | None:
        return self._parsed(self._section(section), name)

    def _section(self, section: str) -> Content:
        entries = self._content.get(section) if self._content is not None else None
        return entries if isinstance(entries, dict) else {}

    def _parsed(self, values: Content | None, name: str) -> int | None:
        if values is None or name not in values:
            return None
        try:
            return parse_level(values[name], self._version)
        except ValueError:
            return None
