"""One event, and its auth chain.

https://spec.matrix.org/v1.19/server-server-api/#retrieving-events
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from murmuration.clock import now_ms
from murmuration.federation.serving.access import find_event, open_event, open_room, take_state_request
from murmuration.federation.serving.answers import Packed, packed
from murmuration.federation.serving.chains import auth_chain
from murmuration.federation.serving.visibility import pdus_for
from murmuration.protocol.errors import NotFound
from murmuration.settings import settings
from murmuration.storage.rooms.event_store import StoredEvent

if TYPE_CHECKING:
    from murmuration.federation.shapes import AuthChainAnswer, TransactionBody
    from murmuration.protocol.identifiers import EventId, RoomId, ServerName
    from murmuration.protocol.pdus.shapes import Pdu


def get_event(origin: ServerName, event_id: EventId) -> TransactionBody:
    """Return an event, as a transaction. Raises NotFound, Forbidden."""
    room, stored = open_event(event_id, origin)
    _require_kept(stored)
    return transaction(pdus_for(room, origin, [stored]))


def get_event_auth(origin: ServerName, room_id: RoomId, event_id: EventId, *, gzip: bool) -> Packed:
    """Return the auth chain of an event. Raises NotFound, Forbidden, LimitExceeded, Unavailable."""
    room = open_room(room_id, origin)
    stored = find_event(room, event_id)
    _require_kept(stored)
    take_state_request(origin)
    answer: AuthChainAnswer = {"auth_chain": [it.pdu for it in auth_chain(room, [stored.event])]}
    return packed(answer, gzip=gzip)


def _require_kept(stored: StoredEvent) -> None:
    """Raise NotFound for an event that was purged."""
    if stored.entry is not None and stored.entry.purged:
        raise NotFound("The content of this event was purged")


def transaction(pdus: Sequence[Pdu]) -> TransactionBody:
    """Return PDUs in the form of a transaction, as answers have them."""
    return {"origin": settings().server_name, "origin_server_ts": now_ms(), "pdus": pdus}
