"""Events in the form of client API v1: more properties on the top level, the sender as `user_id`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.protocol.encoding.shapes import EventFields, JsonDict

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId

LIFTED = ("age", "prev_content", "replaces_state", "redacted_because", "transaction_id")
"""The properties that today's form has in `unsigned`."""


def as_v1(event: EventFields) -> JsonDict:
    """Return an event in today's form for clients, with the properties that v1's clients look for added.

    `sender` and `unsigned` stay, because clients ignore properties that they don't know.
    """
    unsigned = event.get("unsigned", {})
    shown = {**event, **{name: unsigned[name] for name in LIFTED if name in unsigned}}
    if "sender" in event:
        shown["user_id"] = event["sender"]
    if isinstance(shown.get("redacted_because"), Mapping):
        shown["redacted_because"] = as_v1(shown["redacted_because"])
    return shown


@dataclass(frozen=True, slots=True)
class Form:
    """The form in which a client wants its events: today's or v1's."""

    founding: bool

    def __call__(self, event: EventFields, room_id: RoomId | None = None) -> JsonDict:
        shown = dict(event) if room_id is None else {**event, "room_id": room_id}
        return as_v1(shown) if self.founding else shown

    def presence(self, event: EventFields) -> JsonDict:
        """Return a presence event. In this form its content names its user."""
        content = {"user_id": event["sender"], **event["content"]}
        return {"type": event["type"], "sender": event["sender"], "content": content}


V1, TODAY = Form(founding=True), Form(founding=False)
