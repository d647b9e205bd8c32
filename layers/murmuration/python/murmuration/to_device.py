"""Messages from device to device, delivered once. https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from murmuration.identity.budgets import expect_writes
from murmuration.identity.tokens import Requester
from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.errors import BadJson, MissingParam, TooLarge
from murmuration.protocol.identifiers import is_valid_device_id, parse_user_id
from murmuration.settings import settings
from murmuration.storage.live import to_device as storage
from murmuration.storage.live.to_device import Target

MAX_EVENT_BYTES = 65_536


def send_to_device(
    requester: Requester, event_type: str, txn_id: str, body: Mapping[str, Any], *, received_ms: int
) -> None:
    """Send each device named in `body["messages"]` its message, once for each transaction ID.

    Messages that wait for a device together come to it in the order of `received_ms`, which is when the
    request reached the gateway: some functions take longer than others.
    Users of other servers get nothing yet. Raises MissingParam, BadJson, InvalidParam, TooLarge, and
    LimitExceeded where the budget doesn't suffice for all the devices.
    """
    events = _local_events(requester.user_id, event_type, body)
    if events:
        key = storage.transaction_key(requester.user_id, requester.device_id, event_type, txn_id)
        storage.send(key, events, functools.partial(expect_writes, indexed=True), received_ms=received_ms)


def _local_events(sender: str, event_type: str, body: Mapping[str, Any]) -> dict[Target, str]:
    """The events for this server's users, as JSON. Raises MissingParam, BadJson, InvalidParam, TooLarge."""
    if "messages" not in body:
        raise MissingParam("messages is missing")
    events: dict[Target, str] = {}
    for user_id, by_device in _object(body["messages"], "messages").items():
        is_local = parse_user_id(user_id).server_name == settings().server_name
        for device_id, content in _object(by_device, "The messages to a user").items():
            event = {"type": event_type, "sender": sender, "content": _object(content, "A message")}
            encoded = canonical_json.encode(event, strict=False)
            if len(encoded) > MAX_EVENT_BYTES:
                raise TooLarge(f"A message may have {MAX_EVENT_BYTES} bytes, not {len(encoded)}")
            if is_local and is_valid_device_id(device_id):
                events[user_id, device_id] = encoded.decode()
    return events


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadJson(f"{name} must be an object")
    return value
