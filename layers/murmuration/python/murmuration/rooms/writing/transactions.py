"""Sending an event only once: by its transaction ID, or by the delayed event that it ends.

A client's repeated request returns the first one's event.
https://spec.matrix.org/v1.19/client-server-api/#transaction-identifiers
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Write
from murmuration.aws.reads import Read, fetch
from murmuration.identity.tokens import Requester
from murmuration.protocol.identifiers import EventId, RoomId
from murmuration.rooms.writing.append import Append, Draft
from murmuration.storage.live import claims
from murmuration.storage.live.claims import Claimed


class Once(Protocol):
    """The reason why an event is sent only once: a transaction ID, or a delayed event."""

    def mark(self, draft: Draft) -> Draft:
        """Return the draft with the transaction ID or the delay ID, which the sender's clients see."""

    def writes(self, event_id: EventId) -> list[Write]:
        """Return the writes to commit with the event; they are refused if an event was sent before."""

    def settle(self, send: Callable[[], EventId]) -> EventId:
        """Return what `send` returns, or the event that was sent before; `send` must commit the writes."""

    def earlier(self) -> EventId | None:
        """Return the event that was sent before; None for none."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The claim of one transaction ID, by one device, for one operation in one room.

    `target` also distinguishes requests: it is the type of the event to send, or the event to redact. The
    same transaction ID may be used for each target.
    """

    operation: str
    requester: Requester
    room_id: RoomId | Literal[""]
    txn_id: str
    target: str = ""

    @property
    def _name(self) -> str:
        user_id, device_id = self.requester.user_id, self.requester.device_id
        end = self.txn_id
        if self.target:
            end = hashlib.sha256(json.dumps([self.target, self.txn_id]).encode()).hexdigest()
        return f"{self.operation}#{user_id}#{device_id}#{self.room_id}#{end}"

    def mark(self, draft: Draft) -> Draft:
        """Return the draft with the transaction ID, which its sender's client sees."""
        return replace(draft, device_id=self.requester.device_id, txn_id=self.txn_id)

    def take(self, batch: Append) -> None:
        """Mark the batch's last event and write the claim with it; write only the claim if the batch adds no
        event.
        """
        if not batch.entries:
            with suppress(ConditionFailed):
                dynamodb.execute(self.write(EventId("")))
            return
        last = batch.entries[-1]
        batch.entries[-1] = replace(last, device_id=self.requester.device_id, txn_id=self.txn_id)
        batch.writes = [self.write(last.event.event_id), *batch.writes]

    def write(self, event_id: EventId | RoomId, *, batch: Sequence[str] = ()) -> Write:
        """Return the write that claims the transaction ID for an event.

        It is refused if the ID was claimed in the last day. `batch` are the events that are sent together,
        including this one.
        """
        return claims.write(self._name, event_id, batch=batch)

    def writes(self, event_id: EventId) -> list[Write]:
        """Return the writes of `Once`: the claim for an event."""
        return [self.write(event_id)]

    def settle(self, send: Callable[[], EventId]) -> EventId:
        """Return what `send` returns, or the event for which the transaction ID was used before.

        `send` must commit the claim. If it fails for any other reason, raises what `send` raises.
        """
        try:
            return send()
        except ConditionFailed as error:
            found = claims.parse(error.item(claims.CLAIM))
            earlier = found.event_id if found else self.earlier()
            if earlier is None:
                raise
            return earlier

    def earlier(self) -> EventId | None:
        """Return the ID of the event that was sent with the transaction ID before; None for none."""
        found = fetch(self.read())
        return found.event_id if found else None

    def read(self) -> Read[Claimed | None]:
        """Return the event that was sent with the transaction ID before; None if there is none."""
        return claims.read(self._name)
