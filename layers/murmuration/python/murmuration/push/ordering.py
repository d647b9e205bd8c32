"""The messages of the queue `gateway-pushes`, and how they are queued."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from murmuration.aws import queues
from murmuration.identity.budgets import PUSH, charge, server_owner
from murmuration.protocol.event_types import CALL_INVITE, ENCRYPTED
from murmuration.protocol.identifiers import server_of
from murmuration.protocol.push_rules.evaluation import Outcome
from murmuration.storage.rooms.member_index import is_local

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, UserId
    from murmuration.push.json_types import PushOrder, Reading

QUEUE = "gateway-pushes"
Message: TypeAlias = "tuple[PushOrder, UserId | None]"
"""A message for the queue, and the user who is charged for it; None for nobody."""
MOST_TWEAK_BYTES = 4096
_RTC = "org.matrix.msc4075"
URGENT = (
    ENCRYPTED,
    CALL_INVITE,
    f"{_RTC}.rtc.notification",
    f"{_RTC}.call.notify",
    "m.rtc.notification",
    "m.rtc.invite",
)
"""Types of events of which a phone is notified at once, although their rule plays no sound: calls are among
them.

The events by which calls of Element X ring have had several names (MSC4075).
"""


def order(messages: Iterable[Message]) -> None:
    """Queue messages, and charge the users who caused them."""
    found = list(messages)
    queues.send_each(QUEUE, [message for message, _ in found])
    for _, cause in found:
        if cause is not None:
            charge(cause if is_local(cause) else server_owner(server_of(cause)), PUSH)


def reading(
    user_id: UserId, room_id: RoomId, read_up_to: Mapping[str, int], *, gone: int | None = None
) -> PushOrder:
    """Return the message that lowers a user's unread count.

    `read_up_to` is the ordinal read up to, by thread. `gone` is the ordinal of an event that was redacted.
    """
    read: Reading = {"room_id": room_id, "up_to": dict(read_up_to)}
    if gone is not None:
        read["gone"] = gone
    return {"user_id": user_id, "read": read}


def note_tweaks(outcome: Outcome, event_type: str) -> tuple[dict[str, Any], Literal["high", "low"]]:
    """Return the tweaks for gateways from the outcome of push rules, and how urgent the push is."""
    tweaks = outcome.tweaks
    if len(json.dumps(tweaks)) > MOST_TWEAK_BYTES:
        tweaks = {"highlight": True} if outcome.highlight else {}
    urgent = outcome.highlight or outcome.sound is not None or event_type in URGENT
    return tweaks, "high" if urgent else "low"
