"""Scheduling events to be sent later, at the ordinary endpoints and at the endpoint for delayed events."""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from murmuration.identity.tokens import AccessToken, Requester
from murmuration.protocol.encoding.shapes import Body, Content
from murmuration.protocol.identifiers import EventId, RoomId
from murmuration.rooms.delayed import delays
from murmuration.rooms.writing import sending

if TYPE_CHECKING:
    from murmuration.protocol.room_versions import RoomVersion

Query = Mapping[str, Sequence[str]]
"""All values of each query parameter."""
SetState = Callable[[Requester, RoomId, str, str, Content], EventId]
"""A function that sets state at once: it gets requester, room, type, state key and content, and returns the
event's ID."""


def send_or_schedule(
    token: AccessToken,
    room_id: RoomId,
    event_type: str,
    txn_id: str,
    content: Content,
    query: Query,
) -> dict[str, str]:
    """Send a message event, or schedule it if the query asks for a delay; return its ID or delay ID.

    Raises what `sending.send_message` and `schedule` raise.
    """
    delay_ms = delays.delay_in_query(query)
    if delay_ms is None:
        return {"event_id": sending.send_message(token, room_id, event_type, txn_id, content)}
    from murmuration.rooms.opening import open_room

    requester, room = open_room(token, room_id)
    secret = _secret_of("send", requester, room_id, event_type, txn_id)
    return _schedule(requester, room_id, room.version, event_type, None, content, delay_ms, secret)


def set_or_schedule(
    requester: Requester,
    room_id: RoomId,
    event_type: str,
    state_key: str,
    content: Content,
    query: Query,
    *,
    set_state: SetState = sending.set_state,
) -> dict[str, str]:
    """Set state with `set_state`, or schedule it if the query asks for a delay.

    Returns the event's ID or the delay ID. Raises what `set_state` and `schedule` raise.
    """
    delay_ms = delays.delay_in_query(query)
    if delay_ms is None:
        return {"event_id": set_state(requester, room_id, event_type, state_key, content)}
    version = _version_of(room_id)
    secret = secrets.token_bytes(24)
    return _schedule(requester, room_id, version, event_type, state_key, content, delay_ms, secret)


def schedule_delayed_event(
    requester: Requester,
    room_id: RoomId,
    event_type: str,
    txn_id: str,
    body: Body,
    *,
    unstable: bool,
) -> dict[str, str]:
    """Schedule the event that a body describes. Returns its delay ID, the same for each repetition.

    Raises MissingParam, InvalidParam, BadJson, TooLarge, DelayTooLarge, Forbidden, LimitExceeded.
    https://github.com/matrix-org/matrix-spec-proposals/pull/4140
    """
    from murmuration.protocol.bodies import required
    from murmuration.protocol.errors import InvalidParam

    delay_ms = delays.delay_in_body(body, unstable=unstable)
    content, state_key = required(body, "content"), body.get("state_key")
    if not isinstance(content, dict):
        raise InvalidParam("content must be an object")
    if "state_key" in body and not isinstance(state_key, str):
        raise InvalidParam("state_key must be a string")
    version = _version_of(room_id)
    secret = _secret_of("delayed_event", requester, room_id, event_type, txn_id)
    return _schedule(requester, room_id, version, event_type, state_key, content, delay_ms, secret)


def _schedule(
    requester: Requester,
    room_id: RoomId,
    version: RoomVersion,
    event_type: str,
    state_key: str | None,
    content: Content,
    delay_ms: int,
    secret: bytes,
) -> dict[str, str]:
    """Store the event and order its sending. The permission to send it is checked only when it is sent.

    If a request stops between the two and is never repeated, `rooms.delayed.delivery.look_after` finds the
    event.
    """
    from murmuration.aws.dynamodb import ConditionFailed
    from murmuration.clock import now_ms
    from murmuration.identity import rate_limits
    from murmuration.protocol.errors import LimitExceeded, UnknownToken
    from murmuration.rooms.delayed.orders import order
    from murmuration.storage.users import delayed_events as storage

    _check(version, event_type, state_key, content)
    user_id, now = requester.user_id, now_ms()
    rate_limits.check("delayed_event", user_id)
    wanted = storage.DelayedEvent(
        delay_id=storage.make_delay_id(user_id, secret),
        user_id=user_id,
        device_id=requester.device_id,
        room_id=room_id,
        type=event_type,
        state_key=state_key,
        content=content,
        delay_ms=delay_ms,
        since_ms=now,
    )
    try:
        event = storage.schedule(wanted)
    except storage.TooMany as error:
        first = storage.read_scheduled(user_id, 1).events
        wait_ms = max(1_000, first[0].due_ms - now) if first else 1_000
        raise LimitExceeded(
            f"A user may have {storage.MOST} events scheduled", retry_after_ms=wait_ms
        ) from error
    except ConditionFailed as error:
        raise UnknownToken("The device has been logged out", soft_logout=False) from error
    if event.outcome is None:
        order(event)
    return {"delay_id": event.delay_id}


def _check(version: RoomVersion, event_type: str, state_key: str | None, content: Content) -> None:
    """Refuse an event that no room accepts from anybody. Raises InvalidParam, BadJson, TooLarge."""
    from murmuration.protocol.encoding import canonical_json
    from murmuration.protocol.errors import TooLarge
    from murmuration.protocol.pdus.event_format import MAX_FIELD_BYTES, MAX_PDU_BYTES
    from murmuration.rooms.writing.content_checks import check_content

    if state_key is not None:
        sending.check_state_type(event_type)
    check_content(event_type, content, is_state=state_key is not None)
    if len(event_type.encode()) > MAX_FIELD_BYTES or len((state_key or "").encode()) > MAX_FIELD_BYTES:
        raise TooLarge("The event's type or state_key is too long")
    if len(canonical_json.encode(dict(content), strict=version.strict_canonical_json)) > MAX_PDU_BYTES:
        raise TooLarge("The event is too large")


def _version_of(room_id: RoomId) -> RoomVersion:
    from murmuration.rooms.opening import unknown_room
    from murmuration.storage.rooms import room_items

    head = room_items.read_head(room_id)
    if head is None:
        raise unknown_room(room_id)
    return head.version


def _secret_of(operation: str, requester: Requester, *parts: str) -> bytes:
    """Return a secret that is the same for each repetition of a request. Nobody else can compute it."""
    from murmuration.server_keys import derived_key

    named = json.dumps([operation, requester.user_id, requester.device_id, *parts])
    return hmac.digest(derived_key("delayed events"), named.encode(), "sha256")[:24]
