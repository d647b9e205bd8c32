"""Rooms as client API v1 creates and shows them."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from murmuration.drafts.v1.events import as_v1
from murmuration.federation.membership import inviting
from murmuration.identity.tokens import AccessToken, Requester
from murmuration.protocol.bodies import Fields
from murmuration.protocol.encoding.shapes import Answer, Content
from murmuration.rooms.lifecycle.creation import RoomRequest
from murmuration.rooms.reading import state_reads
from murmuration.rooms.writing import sending
from murmuration.settings import settings

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId, RoomId


def create_room(requester: Requester, body: Fields, txn_id: str | None) -> Answer:
    """Create a room. A repetition with the same `txn_id` returns the room that was created before.

    The room is public unless the request says otherwise. The answer has its `room_id`, and the `room_alias`
    if one was asked for. Raises what creating a room raises.
    """
    wanted = RoomRequest.from_body(body, visibility="public", for_old_clients=True)
    answer: Answer = {"room_id": inviting.create_room(requester, wanted, txn_id=txn_id)}
    if wanted.room_alias_name is not None:
        answer["room_alias"] = f"#{wanted.room_alias_name}:{settings().server_name}"
    return answer


def get_room_state(token: AccessToken, room_id: RoomId) -> list[Answer]:
    """Return a room's state events. Raises UnknownToken, Forbidden."""
    return [as_v1(event) for event in state_reads.get_room_state(token, room_id)]


def post_message(token: AccessToken, room_id: RoomId, event_type: str, content: Content) -> str:
    """Send a message event that has no transaction ID, and return its ID. Raises what sending raises."""
    return sending.send_message(token, room_id, event_type, _fresh_txn_id(), content)


def post_redaction(requester: Requester, room_id: RoomId, event_id: EventId, content: Content) -> str:
    """Redact an event without a transaction ID, and return the redaction's ID. Raises what redacting
    raises.
    """
    return sending.redact_event(requester, room_id, event_id, _fresh_txn_id(), content)


def _fresh_txn_id() -> str:
    """Return a transaction ID that no other request will use."""
    return f"post-{secrets.token_urlsafe(12)}"
