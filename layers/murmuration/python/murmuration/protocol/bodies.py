"""Checks that requests' bodies have the required properties, with the right types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.encoding.canonical_json import MAX_INTEGER
from murmuration.protocol.errors import BadJson, MissingParam, NotJson, TooLarge
from murmuration.protocol.identifiers import EventId, RoomId, UserId

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Body

MAX_DEPTH = 100
"""How deeply JSON may be nested. Other clients must be able to parse what is passed on to them: many stop at
128 levels, and the levels around an event in an answer count too."""


def parse_json(data: bytes | str) -> Any:
    """Return the value of the JSON that a client sent; any value.

    Raises NotJson; BadJson for too deep nesting, for integers beyond binary64, and for strings with a lone
    surrogate, which can't be encoded as UTF-8 and so neither stored nor sent on.
    """
    try:
        text = data if isinstance(data, str) else data.decode()
    except UnicodeDecodeError as error:
        raise NotJson("The content is not UTF-8") from error
    value = canonical_json.loads(text)
    canonical_json.check_range(text)
    if "\\ud" in text or "\\uD" in text:
        canonical_json.encode(value, strict=False)
    if text.count("{") + text.count("[") > MAX_DEPTH and isinstance(value, (dict, list)):
        _limit_depth(value)
    return value


def _limit_depth(value: dict[str, object] | list[object]) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        children = (each.values() if isinstance(each, dict) else each for each in level)
        level = [child for group in children for child in group if isinstance(child, (dict, list))]
        if not level:
            return
    raise BadJson(f"The content is nested more than {MAX_DEPTH} levels deep")


def required(body: Body, name: str) -> Any:
    """Return a required property. Raises MissingParam."""
    if name not in body:
        raise MissingParam(f"{name} is missing")
    return body[name]


def object_of(value: object, name: str) -> dict[str, Any]:
    """Return `value` if it's an object. Raises BadJson."""
    if not isinstance(value, dict):
        raise BadJson(f"{name} must be an object")
    return value


def strings_of(value: object, name: str) -> list[str]:
    """Return `value` if it's a list of strings. Raises BadJson."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise BadJson(f"{name} must be a list of strings")
    return value


def check_signatures(value: object) -> None:
    """Raise BadJson if `value` isn't what an object may have as `signatures`: a string for each key of each
    signer.

    Everybody who shares a room gets the signed keys of others, and some clients fail on a whole answer in
    which one signature has another type.
    """
    for of_signer in object_of(value, "signatures").values():
        if not all(
            isinstance(each, str) for each in object_of(of_signer, "The signatures of a user").values()
        ):
            raise BadJson("Each signature must be a string")


def limit_size(value: object, name: str, limit: int) -> None:
    """Raise TooLarge if `value` has more than `limit` bytes, and BadJson if it can't be JSON."""
    size = len(canonical_json.encode(value, strict=False))
    if size > limit:
        raise TooLarge(f"{name} may have {limit} bytes, not {size}")


class Fields:
    """An object's properties, by type.

    Each method raises MissingParam if a property without a default is missing, and BadJson if its value has
    another type. If a property is optional, `null` counts as missing: some clients' libraries send all
    properties that they know, with `null` for those that aren't set.
    """

    __slots__ = ("values",)

    def __init__(self, values: Body) -> None:
        self.values = values

    def _or(self, name: str, default: object) -> Any:
        value = self.values.get(name)
        return default if value is None else value

    def string(self, name: str) -> str:
        value = required(self.values, name)
        if not isinstance(value, str):
            raise BadJson(f"{name} must be a string")
        return value

    def user_id(self, name: str = "user_id") -> UserId:
        """Return a string as a user ID; its grammar isn't checked."""
        return UserId(self.string(name))

    def room_id(self, name: str = "room_id") -> RoomId:
        """Return a string as a room ID; its grammar isn't checked."""
        return RoomId(self.string(name))

    def event_id(self, name: str = "event_id") -> EventId:
        """Return a string as an event ID; its grammar isn't checked."""
        return EventId(self.string(name))

    def user_ids(self, name: str) -> list[UserId]:
        """Return a list of strings as user IDs, empty by default."""
        return [UserId(each) for each in self.strings(name)]

    def event_ids(self, name: str) -> list[EventId]:
        """Return a list of strings as event IDs, empty by default."""
        return [EventId(each) for each in self.strings(name)]

    def optional_string(self, name: str) -> str | None:
        return self.string(name) if self.values.get(name) is not None else None

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        value = self.string(name)
        if value not in allowed:
            raise BadJson(f"{name} must be one of {', '.join(allowed)}")
        return value

    def boolean(self, name: str, default: bool) -> bool:
        value = self._or(name, default)
        if not isinstance(value, bool):
            raise BadJson(f"{name} must be true or false")
        return value

    def integer(self, name: str, default: int, *, low: int = 0) -> int:
        value = self._or(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= MAX_INTEGER:
            raise BadJson(f"{name} must be a whole number from {low} to {MAX_INTEGER}")
        return value

    def strings(self, name: str) -> list[str]:
        """Return a list of strings, empty by default."""
        return strings_of(self._or(name, []), name)

    def object(self, name: str) -> dict[str, Any]:
        """Return an object, empty by default."""
        return object_of(self._or(name, {}), name)

    def optional_object(self, name: str) -> dict[str, Any] | None:
        return self.object(name) if self.values.get(name) is not None else None

    def objects(self, name: str) -> list[Fields]:
        """Return the objects of a list, empty by default."""
        value = self._or(name, [])
        if not isinstance(value, list):
            raise BadJson(f"{name} must be a list")
        return [Fields(object_of(each, f"Each of {name}")) for each in value]
