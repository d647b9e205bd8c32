"""The users whose keys changed since a sync.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3keyschanges
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.identity.tokens import AccessToken
from murmuration.protocol.errors import InvalidParam, MissingParam
from murmuration.storage.live import sync_tokens as tokens
from murmuration.sync.assembly.assembling import assemble
from murmuration.sync.first_look import look
from murmuration.sync.request import SyncRequest

if TYPE_CHECKING:
    from murmuration.sync.readers.json_types import DeviceListsSection

FILTER = '{"room":{"timeline":{"limit":1},"state":{"lazy_load_members":true}}}'
"""A filter that keeps the sync small, because only its device lists are wanted."""


def get_keys_changes(token: AccessToken, after: str | None, until: str | None) -> DeviceListsSection:
    """Return the `device_lists` of a sync that continues from the sync token `after`.

    Nothing is acknowledged.

    They include changes after `until`, up to now: telling a client of a change twice is harmless. Raises
    UnknownToken, MissingParam, InvalidParam for an invalid or expired token.
    """
    if after is None or until is None:
        raise MissingParam("from and to must be given")
    tokens.parse(until)
    first = look(token, after, FILTER)
    if first.base is None:
        raise InvalidParam("The token `from` is not known any more: query all keys again")
    return assemble(SyncRequest(token, since=after, filter=FILTER), first).device_lists.as_json()
