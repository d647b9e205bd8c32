"""To-device messages across servers: `m.direct_to_device`, in both directions.

Outgoing: a message is stored before its sender's request is answered, and until the other server has
confirmed it. Incoming: it is stored before the other server's transaction is answered, once for each of that
server's message IDs. https://spec.matrix.org/v1.19/server-server-api/#send-to-device-messaging
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from murmuration.aws import concurrency
from murmuration.clock import now_ms
from murmuration.federation.names import policy
from murmuration.identity import rate_limits
from murmuration.identity.budgets import expect_writes
from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.encoding.unpadded_base64 import encode_urlsafe
from murmuration.protocol.errors import BadJson, TooLarge
from murmuration.protocol.identifiers import (
    DeviceId,
    ServerName,
    UserId,
    is_compliant_user_of,
    is_valid_device_id,
    server_of,
)
from murmuration.storage.live import to_device
from murmuration.storage.live.to_device import Sending, Target
from murmuration.storage.rooms.member_index import is_local_id
from murmuration.storage.servers import outgoing_messages
from murmuration.storage.servers.outgoing_messages import TRANSACTION_MESSAGES, Outgoing

if TYPE_CHECKING:
    from murmuration.federation.inbound.transactions.edus import Contents
    from murmuration.federation.shapes import DirectToDevice
    from murmuration.protocol.encoding.shapes import Content, Untrusted

PART_BYTES = 60_000
"""The maximum size of the messages in one EDU; a single message may be larger."""
MOST_SERVERS = 1_000
"""The maximum number of servers to which one request may send messages."""
MOST_EVENT_BYTES = 65_536
MOST_ID = 32
MOST_TYPE_BYTES = 255
_PART_BITS = 20
"""A message's position: its time, 8 bits of a hash that distinguishes requests, 12 bits for the number of its
part."""


# -- Out -------------------------------------------------------------------------------------------------


def send(
    transaction: str, sender: UserId, event_type: str, events: Mapping[Target, Content], received_ms: int
) -> None:
    """Store messages for devices of other servers, by their contents, and have them sent.

    Each `transaction` is done once. `received_ms` is when the client's request came: messages to a server are
    sent in that order. Servers that the operator excludes get nothing. Raises TooLarge, and LimitExceeded for
    too many servers, because each that doesn't answer delays the sending.
    """
    from murmuration.federation.outbound import pokes

    by_server: dict[ServerName, dict[Target, Content]] = {}
    for (user_id, device_id), content in events.items():
        if policy.is_allowed(server_of(user_id)):
            by_server.setdefault(server_of(user_id), {})[user_id, device_id] = content

    def keep(server: ServerName) -> None:
        edus = _edus(transaction.rpartition("#")[2], sender, event_type, by_server[server])
        _keep(server, f"{transaction}#{server}", edus, received_ms)

    if len(by_server) > MOST_SERVERS:
        raise TooLarge(f"A request may be for users of {MOST_SERVERS} other servers")
    rate_limits.check("to_device_servers", sender, len(by_server))
    concurrency.parallel(*(functools.partial(keep, server) for server in by_server))
    # Also for a repetition: the first attempt may have stopped before this.
    pokes.order(list(pokes.messages_to(by_server)))


def _keep(server: ServerName, claim: str, edus: Iterator[str], received_ms: int) -> None:
    first = received_ms << _PART_BITS | int(hashlib.sha256(claim.encode()).hexdigest()[:2], 16) << 12
    messages = [Outgoing(first + number, edu) for number, edu in enumerate(edus)]
    for start in range(0, len(messages), TRANSACTION_MESSAGES):
        some = messages[start : start + TRANSACTION_MESSAGES]
        outgoing_messages.put(server, some, f"{claim}#{start}")


def _edus(digest: str, sender: UserId, event_type: str, events: Mapping[Target, Content]) -> Iterator[str]:
    """Yield the contents of the EDUs as JSON, with as many messages in each as fit."""
    for number, messages in enumerate(_parts(events)):
        message_id = encode_urlsafe(
            hashlib.sha256(json.dumps([digest, sorted(messages), number]).encode()).digest()
        )[:MOST_ID]
        content: DirectToDevice = {
            "sender": sender,
            "type": event_type,
            "message_id": message_id,
            "messages": messages,
        }
        yield canonical_json.encode(content, strict=False).decode()


def _parts(events: Mapping[Target, Content]) -> Iterator[dict[UserId, dict[DeviceId, Content]]]:
    part: dict[UserId, dict[DeviceId, Content]] = {}
    left = PART_BYTES
    for (user_id, device_id), content in events.items():
        size = len(canonical_json.encode(content, strict=False))
        if part and size > left:
            yield part
            part, left = {}, PART_BYTES
        part.setdefault(user_id, {})[device_id] = content
        left -= size
    if part:
        yield part


# -- In --------------------------------------------------------------------------------------------------


def take_messages(origin: ServerName, contents: Contents) -> None:
    """Put a server's messages into the inboxes of their devices, in order, each once.

    Malformed messages, and those whose sender belongs to another server, are left out. The cost of storing
    them is taken from the server's budget first. Raises LimitExceeded, Unavailable: the server then sends
    them again.
    """
    received_ms = now_ms()
    found = [_sending(origin, content, received_ms) for content in contents]
    sendings = [sending for sending in found if sending is not None]
    if sendings:
        rate_limits.check("federation_to_device", origin, len(sendings))
        to_device.send_in_order(sendings, functools.partial(expect_writes, indexed=True))


def _sending(origin: ServerName, content: Untrusted, received_ms: int) -> Sending | None:
    sender, event_type, message_id = (content.get(name) for name in ("sender", "type", "message_id"))
    messages = content.get("messages")
    if not is_compliant_user_of(sender, origin):
        return None
    if not isinstance(message_id, str) or not 0 < len(message_id) <= MOST_ID:
        return None
    if not isinstance(event_type, str) or not isinstance(messages, dict):
        return None
    events: dict[Target, str] = {}
    try:
        if len(event_type.encode()) > MOST_TYPE_BYTES:
            return None
        for user_id, by_device in messages.items():
            for device_id, message in by_device.items() if _is_reachable(user_id, by_device) else ():
                event = {"type": event_type, "sender": sender, "content": message}
                encoded = canonical_json.encode_parsable(event)
                fits = len(encoded) <= MOST_EVENT_BYTES
                if fits and isinstance(message, dict) and is_valid_device_id(device_id):
                    events[user_id, device_id] = encoded.decode()
        key = to_device.message_key(origin, message_id)
    except (BadJson, UnicodeEncodeError):
        return None
    return Sending(key, events, received_ms) if events else None


def _is_reachable(user_id: object, by_device: object) -> bool:
    return isinstance(by_device, dict) and is_local_id(user_id)
