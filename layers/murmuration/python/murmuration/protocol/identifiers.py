"""The identifiers' grammars. https://spec.matrix.org/v1.19/appendices/#identifier-grammar

Identifiers are `str` at run time. A `parse_…` function splits one into its parts and raises InvalidParam if
it doesn't match the grammar; `is_valid_…` returns a bool. Lengths are in bytes of UTF-8 and include the sigil
and the domain.
"""

from __future__ import annotations

from re import fullmatch
from typing import NamedTuple, NewType, TypeGuard

from murmuration.protocol.errors import InvalidParam
from murmuration.protocol.room_versions import EventIDFormat, RoomVersion

MAX_IDENTIFIER_BYTES = 255

# The patterns are compiled on first use and then cached by `re`, because most functions need only a few of
# them. A historical localpart, or one of another kind of identifier: any characters except the separator, NUL
# and surrogates.
_LOCALPART = "[^:\0\ud800-\udfff]*"
_WITH_DOMAIN = f"(?s:(.)({_LOCALPART}):(.*))"
_SERVER_NAME = (
    r"(?:(?P<ipv4>[0-9]{1,3}(?:\.[0-9]{1,3}){3})"
    r"|\[(?P<ipv6>[0-9A-Fa-f:.]{2,45})\]"
    r"|[0-9A-Za-z.-]{1,255})"
    r"(?::[0-9]{1,5})?"
)
_URLSAFE_HASH = "[0-9A-Za-z_-]{43}"
_STANDARD_HASH = "[0-9A-Za-z+/]{43}"
_NEW_USER_LOCALPART = "[a-z0-9._=/+-]+"
_COMPLIANT_USER_LOCALPART = "[\x21-\x7e]+"
_KEY_ID = "([a-z0-9_]+):([^:\0\ud800-\udfff]+)"
_SERVER_KEY_ID = "ed25519:[a-zA-Z0-9_]+"
_DEVICE_ID = "[^\0-\x1f\x7f-\x9f\ud800-\udfff]+"
_OPAQUE = "[0-9A-Za-z._~-]{1,255}"
_NAMESPACED = "[a-z][a-z0-9._-]{0,254}"


UserId = NewType("UserId", str)
RoomId = NewType("RoomId", str)
DeviceId = NewType("DeviceId", str)
EventId = NewType("EventId", str)
ServerName = NewType("ServerName", str)
# With these types mypy finds two swapped identifiers, at no cost at run time. A value of such a type is
# intended as this kind of identifier, but needn't match the grammar: `is_valid_…` checks that. A `str`
# becomes one by `is_valid_…`, by `Request.params` and `Fields` for values from clients, or by calling the
# type where code creates an identifier. Items from the database have them already. The classes named `…Parts`
# are identifiers split into parts.


class UserIdParts(NamedTuple):
    """The parts of `@localpart:server_name`."""

    localpart: str
    server_name: ServerName


class RoomAliasParts(NamedTuple):
    """The parts of `#localpart:server_name`."""

    localpart: str
    server_name: ServerName


class RoomIdParts(NamedTuple):
    """The parts of `!opaque:server_name`; from room version 12 on there is no server name."""

    opaque: str
    server_name: ServerName | None


class KeyIdParts(NamedTuple):
    """The parts of `algorithm:identifier`."""

    algorithm: str
    identifier: str


class ServerNameParts(NamedTuple):
    """A host (an IPv6 literal keeps its brackets) and the port, if one is named."""

    host: str
    port: int | None


def server_name_of(identifier: str) -> ServerName | None:
    """Return the part of a valid identifier after its first colon; None if it has no domain."""
    return ServerName(identifier.partition(":")[2]) or None


def server_of(user_id: UserId) -> ServerName:
    """Return the server name in a valid user ID, which always has one."""
    return ServerName(user_id.partition(":")[2])


def localpart_of(user_id: UserId) -> str:
    """Return the localpart of a valid user ID."""
    return user_id[1:].partition(":")[0]


def user_id_from(localpart: str, server_name: ServerName) -> UserId:
    """Return the ID of a server's user. Neither part is checked."""
    return UserId(f"@{localpart}:{server_name}")


def parse_server_name(server_name: str) -> ServerNameParts:
    """Split a server name into its parts. Raises InvalidParam."""
    if not is_valid_server_name(server_name):
        raise InvalidParam("This is not a valid server name")
    host, separator, port = server_name.rpartition(":")
    if not separator or port.endswith("]"):
        return ServerNameParts(server_name, None)
    return ServerNameParts(host, int(port))


def is_valid_server_name(server_name: str) -> TypeGuard[ServerName]:
    """Return whether a text is a server name. https://spec.matrix.org/v1.19/appendices/#server-name"""
    match = fullmatch(_SERVER_NAME, server_name)
    if match is None:
        return False
    if match["ipv4"]:
        return all(int(number) <= 255 for number in match["ipv4"].split("."))
    return match["ipv6"] is None or _is_ipv6(match["ipv6"])


def parse_user_id(user_id: str) -> UserIdParts:
    """Split a user ID into its parts; historical ones are allowed too. Raises InvalidParam.

    Use it for the IDs in events and of existing users. A new user's localpart must pass
    `is_valid_new_localpart`. https://spec.matrix.org/v1.19/appendices/#historical-user-ids
    """
    return UserIdParts(*_split("@", user_id, "user ID"))


def is_valid_user_id(user_id: str) -> TypeGuard[UserId]:
    """Return whether `parse_user_id` accepts it."""
    return _try_split("@", user_id) is not None


def is_compliant_user_id(user_id: str) -> TypeGuard[UserId]:
    """Return whether a valid user ID may be shown to clients outside of an event.

    This isn't the case if its localpart is empty or has characters outside of U+0021 to U+007E.
    """
    parts = _try_split("@", user_id)
    return parts is not None and fullmatch(_COMPLIANT_USER_LOCALPART, parts[0]) is not None


def is_user_of(value: object, server_name: ServerName) -> TypeGuard[UserId]:
    """Return whether a value of any type is a valid ID of a server's user."""
    return isinstance(value, str) and is_valid_user_id(value) and server_of(value) == server_name


def is_compliant_user_of(value: object, server_name: ServerName) -> TypeGuard[UserId]:
    """Return whether a value of any type is an ID of a server's user that may be shown to clients."""
    return is_user_of(value, server_name) and is_compliant_user_id(value)


def is_valid_new_localpart(localpart: str, server_name: str) -> bool:
    """Return whether a new user may have this localpart: only today's characters, and the whole ID isn't too
    long.
    """
    fits = len(localpart) + len(server_name.encode()) + 2 <= MAX_IDENTIFIER_BYTES
    return fits and fullmatch(_NEW_USER_LOCALPART, localpart) is not None


def parse_room_alias(alias: str) -> RoomAliasParts:
    """Split a room alias into its parts. Raises InvalidParam."""
    return RoomAliasParts(*_split("#", alias, "room alias"))


def is_valid_room_alias(alias: str) -> bool:
    """Return whether a text is a room alias. https://spec.matrix.org/v1.19/appendices/#room-aliases"""
    return _try_split("#", alias) is not None


def parse_room_id(room_id: str) -> RoomIdParts:
    """Split a room ID of either format into its parts. Raises InvalidParam."""
    if room_id.startswith("!") and fullmatch(_URLSAFE_HASH, room_id[1:]):
        return RoomIdParts(room_id[1:], None)
    return RoomIdParts(*_split("!", room_id, "room ID"))


def is_valid_room_id(room_id: str, version: RoomVersion | None = None) -> TypeGuard[RoomId]:
    """Return whether it is a room ID in the version's format; without a version, in either format."""
    if version is None:
        return is_valid_room_id_hash(room_id) or _try_split("!", room_id) is not None
    if version.create_event_is_room_id:
        return is_valid_room_id_hash(room_id)
    return _try_split("!", room_id) is not None


def is_valid_room_id_hash(room_id: str) -> TypeGuard[RoomId]:
    """Return whether it is a room ID without a domain: the hash of a create event."""
    return room_id.startswith("!") and fullmatch(_URLSAFE_HASH, room_id[1:]) is not None


def is_valid_event_id(event_id: str, version: RoomVersion | None = None) -> TypeGuard[EventId]:
    """Return whether it is an event ID in the version's format; without a version, in any format."""
    if not event_id.startswith("$"):
        return False
    if version is None:
        return (
            fullmatch(_URLSAFE_HASH, event_id[1:]) is not None
            or fullmatch(_STANDARD_HASH, event_id[1:]) is not None
            or _try_split("$", event_id) is not None
        )
    if version.event_id_format is EventIDFormat.SERVER_ASSIGNED:
        return _try_split("$", event_id) is not None
    hash_format = (
        _STANDARD_HASH if version.event_id_format is EventIDFormat.HASH_STANDARD_B64 else _URLSAFE_HASH
    )
    return fullmatch(hash_format, event_id[1:]) is not None


def parse_key_id(key_id: str) -> KeyIdParts:
    """Split the ID of a signing, device or one-time key into its parts. Raises InvalidParam."""
    match = fullmatch(_KEY_ID, key_id)
    if match is None:
        raise InvalidParam("This is not a valid key ID")
    return KeyIdParts(match[1], match[2])


def is_valid_server_key_id(key_id: str) -> bool:
    """Return whether it can be the ID of a server's Ed25519 key."""
    return fullmatch(_SERVER_KEY_ID, key_id) is not None


def is_valid_device_id(device_id: str) -> TypeGuard[DeviceId]:
    """Return whether a client may have this device ID.

    The specification doesn't define its form. Empty IDs, control characters and more than 255 bytes are
    refused.
    """
    return fullmatch(_DEVICE_ID, device_id) is not None and _fits(device_id)


def is_opaque_identifier(identifier: str) -> bool:
    """Return whether a text is an opaque identifier.

    https://spec.matrix.org/v1.19/appendices/#opaque-identifiers
    """
    return fullmatch(_OPAQUE, identifier) is not None


def is_namespaced_identifier(identifier: str) -> bool:
    """Return whether a text is an identifier of the common namespaced grammar.

    https://spec.matrix.org/v1.19/appendices/#common-namespaced-identifier-grammar
    """
    return fullmatch(_NAMESPACED, identifier) is not None


def _try_split(sigil: str, identifier: str) -> tuple[str, ServerName] | None:
    """Return localpart and server name; None if it isn't an identifier with this sigil and a domain."""
    match = fullmatch(_WITH_DOMAIN, identifier)
    if match is None or match[1] != sigil or not is_valid_server_name(match[3]) or not _fits(identifier):
        return None
    return match[2], match[3]


def _split(sigil: str, identifier: str, kind: str) -> tuple[str, ServerName]:
    parts = _try_split(sigil, identifier)
    if parts is None:
        raise InvalidParam(f"This is not a valid {kind}")
    return parts


def _fits(identifier: str) -> bool:
    return len(identifier) <= MAX_IDENTIFIER_BYTES and (
        identifier.isascii() or len(identifier.encode()) <= MAX_IDENTIFIER_BYTES
    )


def _is_ipv6(literal: str) -> bool:
    from ipaddress import AddressValueError, IPv6Address

    try:
        IPv6Address(literal)
    except AddressValueError:
        return False
    return True
