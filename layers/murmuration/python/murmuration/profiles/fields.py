"""The names and values that profile fields may have.

https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3profileuseridkeyname
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.encoding.shapes import Body
from murmuration.protocol.errors import InvalidParam, KeyTooLarge, MissingParam, ProfileTooLarge

if TYPE_CHECKING:
    from murmuration.storage.users.profiles import ProfileFields

TEXTS = ("displayname", "avatar_url", "m.tz")
"""The fields that are strings: clients fail on others."""
MAX_PROFILE_BYTES = 64 * 1024 - 1
"""A profile "MUST be under 64 KiB", as canonical JSON."""
MAX_KEY_BYTES = 255
MAX_DISPLAYNAME = 256
MAX_AVATAR_URL = 1000
MAX_TIME_ZONE = 256
"""The maximum lengths, the last three in characters. Those of names and avatars are the same as Synapse's:
member events repeat these fields, so they have to stay small."""

_CUSTOM_KEY = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)+")


def check_key(key: str) -> None:
    """Raise KeyTooLarge or InvalidParam for a name that no profile field may have."""
    if len(key.encode()) > MAX_KEY_BYTES:
        raise KeyTooLarge(f"A profile key has at most {MAX_KEY_BYTES} bytes")
    if key not in ("displayname", "avatar_url") and not _CUSTOM_KEY.fullmatch(key):
        raise InvalidParam("A profile key is displayname, avatar_url or a namespaced identifier")


def value_from_body(key: str, body: Body) -> object:
    """Return the value for `key` in a request's body. Raises MissingParam, InvalidParam.

    A custom field may have any JSON value, but a time zone is a string. An avatar URL isn't checked: the rule
    that it "MUST be an MXC URI" is for clients, and older ones send others.
    """
    if key not in body:
        raise MissingParam(f"{key} is missing")
    value = body[key]
    if key == "displayname":
        return _text(key, value, MAX_DISPLAYNAME)
    if key == "avatar_url":
        return _text(key, value, MAX_AVATAR_URL)
    return _text(key, value, MAX_TIME_ZONE) if key == "m.tz" else value


def _text(key: str, value: object, limit: int) -> str:
    if not isinstance(value, str):
        raise InvalidParam(f"{key} must be a string")
    if len(value) > limit:
        raise InvalidParam(f"{key} has at most {limit} characters")
    return value


def check_size(fields: ProfileFields) -> None:
    """Raise ProfileTooLarge for a profile that is too large, BadJson for one that can't be encoded, such as a
    lone surrogate.
    """
    if len(canonical_json.encode_parsable(dict(fields))) > MAX_PROFILE_BYTES:
        raise ProfileTooLarge("A profile must be under 64 KiB")
