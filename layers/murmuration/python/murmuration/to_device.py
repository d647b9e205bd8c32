"""To-device messages, delivered once.

https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from murmuration.identity.budgets import expect_writes
from murmuration.identity.tokens import Requester
from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.encoding.shapes import Body, Content, JsonObject
from murmuration.protocol.errors import BadJson, MissingParam, TooLarge
from murmuration.protocol.identifiers import UserId, is_valid_device_id, parse_user_id
from murmuration.settings import settings
from murmuration.storage.live import to_device as storage
from murmuration.storage.live.to_device import Target

MAX_EVENT_BYTES = 65_536


SendOn = Callable[[str, UserId, str, Mapping[Target, Content], int], None]
"""A function that sends messages to other servers. It gets the request's name, the sender, the type, the
contents, and when the request came."""


def _drop(*_: object) -> None:
    """Send nothing to other servers."""


def send_to_device(
    requester: Requester,
    event_type: str,
    txn_id: str,
    body: Body,
    *,
    received_ms: int,
    send_on: SendOn = _drop,
) -> None:
    """Send each device named in `body["messages"]` its message, once for each transaction ID.

    A device gets its waiting messages in the order of `received_ms`, the time at which their requests reached
    the gateway. Messages for users of other servers go to `send_on`, with a key that is the same for a
    repetition. Raises MissingParam, BadJson, InvalidParam, TooLarge, and LimitExceeded if the budget isn't
    enough for all devices.
    """
    local, remote = _events(requester.user_id, event_type, body)
    key = storage.transaction_key(requester.user_id, requester.device_id, event_type, txn_id)
    if local:
        storage.send(key, local, functools.partial(expect_writes, indexed=True), received_ms=received_ms)
    if remote:
        expect_writes(len(canonical_json.encode(content, strict=False)) for content in remote.values())
        send_on(key, requester.user_id, event_type, remote, received_ms)


def _events(sender: UserId, event_type: str, body: Body) -> tuple[dict[Target, str], dict[Target, Content]]:
    """Return the events for local users as JSON, and the contents for remote users.

    Raises MissingParam, BadJson, InvalidParam, TooLarge.
    """
    if "messages" not in body:
        raise MissingParam("messages is missing")
    local: dict[Target, str] = {}
    remote: dict[Target, Content] = {}
    for user_id, by_device in _object(body["messages"], "messages").items():
        is_local = parse_user_id(user_id).server_name == settings().server_name
        for device_id, value in _object(by_device, "The messages to a user").items():
            content = _object(value, "A message")
            event = {"type": event_type, "sender": sender, "content": content}
            encoded = canonical_json.encode(event, strict=False)
            if len(encoded) > MAX_EVENT_BYTES:
                raise TooLarge(f"A message may have {MAX_EVENT_BYTES} bytes, not {len(encoded)}")
            if not is_valid_device_id(device_id):
                continue
            if is_local:
                local[UserId(user_id), device_id] = encoded.decode()
            else:
                remote[UserId(user_id), device_id] = content
    return local, remote


def _object(value: object, name: str) -> JsonObject:
    if not isinstance(value, dict):
        raise BadJson(f"{name} must be an object")
    return value
