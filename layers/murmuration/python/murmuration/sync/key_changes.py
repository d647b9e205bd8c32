"""Whose keys changed since a sync. https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3keyschanges"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.identity.tokens import AccessToken
from murmuration.protocol.errors import InvalidParam, MissingParam
from murmuration.storage.live import sync_tokens as tokens
from murmuration.sync.engine import SyncRequest, assemble
from murmuration.sync.first_look import look

if TYPE_CHECKING:
    from murmuration.sync.json_types import DeviceListsSection

FILTER = '{"room":{"timeline":{"limit":1},"state":{"lazy_load_members":true}}}'
"""What keeps the sync small of which only the device lists are wanted."""


def get_keys_changes(token: AccessToken, after: str | None, until: str | None) -> DeviceListsSection:
    """The `device_lists` of a sync that goes on from the stream token `after`, leaving no trace.

    They reach beyond `until`, to now: to tell a client of a change again is harmless. Raises UnknownToken,
    MissingParam, InvalidParam for what is no token, or has expired.
    """
    if after is None or until is None:
        raise MissingParam("from and to must be given")
    tokens.parse(until)
    first = look(token, after, FILTER)
    if first.base is None:
        raise InvalidParam("The token `from` is not known any more: look up all keys anew")
    return assemble(SyncRequest(token, since=after, filter=FILTER), first).device_lists.as_json()
