"""Filters that clients upload once and then refer to by their ID.

https://spec.matrix.org/v1.19/client-server-api/#filtering
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from murmuration.identity.tokens import Requester
from murmuration.protocol.encoding import canonical_json, unpadded_base64
from murmuration.protocol.encoding.shapes import Body, JsonObject
from murmuration.protocol.errors import NotFound, TooLarge
from murmuration.protocol.filters import SyncFilter, parse_filter
from murmuration.storage.users import filters as storage

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId

MAX_BYTES = 65_536
_ID = re.compile("[A-Za-z0-9_-]{22}")


def define_filter(requester: Requester, user_id: UserId, definition: Body) -> str:
    """Store a filter and return its ID. The same filter always has the same ID.

    Raises Forbidden, TooLarge, and BadJson or InvalidParam for an invalid filter.
    """
    requester.require_self(user_id)
    parse_filter(definition)
    encoded = canonical_json.encode(definition, strict=False)
    if len(encoded) > MAX_BYTES:
        raise TooLarge(f"A filter may have {MAX_BYTES} bytes, not {len(encoded)}")
    filter_id = unpadded_base64.encode_urlsafe(hashlib.sha256(encoded).digest()[:16])
    storage.write(user_id, filter_id, encoded.decode())
    return filter_id


def get_filter(requester: Requester, user_id: UserId, filter_id: str) -> JsonObject:
    """Return a filter as the client uploaded it. Raises Forbidden, NotFound."""
    requester.require_self(user_id)
    return read_definition(user_id, filter_id)


def read_filter(user_id: UserId, filter_id: str) -> SyncFilter:
    """Return a parsed filter. One read. Raises NotFound."""
    return parse_filter(read_definition(user_id, filter_id))


def read_definition(user_id: UserId, filter_id: str) -> JsonObject:
    """Return a filter's JSON. One read. Raises NotFound."""
    definition = storage.read(user_id, filter_id) if _ID.fullmatch(filter_id) else None
    if definition is None:
        raise NotFound("No such filter")
    return definition
