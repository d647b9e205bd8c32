"""Transactions: their contents, their limits, and the outcome of sending one.

A transaction is stored as places in logs (`logs`): of events in rooms' logs, of changes in users' logs, of
messages in the server's log. Its body is built from them each time it is sent. So it is small to store, and a
repetition has the same events under the same ID. An EDU's content may be newer than it was the first time.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.clock import now_ms
from murmuration.federation.requests import client, health
from murmuration.federation.requests.errors import Malformed, Refused, Unreachable
from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.encoding.unpadded_base64 import encode_urlsafe
from murmuration.protocol.errors import Forbidden
from murmuration.protocol.events import Event
from murmuration.protocol.pdus.event_format import sendable
from murmuration.settings import settings

if TYPE_CHECKING:
    from murmuration.federation.shapes import Edu, TransactionBody
    from murmuration.protocol.identifiers import ServerName
    from murmuration.storage.json_types import StoredTransaction
    from murmuration.storage.servers.backlogs import LogId

MOST_PDUS = 50
MOST_EDUS = 100
MOST_BYTES = 1_000_000
"""The maximum size of the events as JSON. A single event has at most 65,536 bytes."""
ANSWER_BYTES = 1_048_576
FAILURES = frozenset((*range(300, 400), 404, 405, *range(500, 600)))
"""Statuses which mean that a server can't accept a transaction now, whatever its content."""


@dataclass(frozen=True, slots=True)
class Part:
    """Entries of one log in a transaction, by their ordinals. Once it is sent, the log is finished up to
    `until`.

    `room_id` is the ID of any log (`logs`). `touched` is set if nothing else of the log is left to send
    (`backlogs.Move`). `since` is the first ordinal that was left to send; 0 if it doesn't matter.
    """

    room_id: LogId
    ordinals: tuple[int, ...]
    until: int
    touched: int | None = None
    since: int = 0


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction. `made_ms` is its time, which is the same each time that it is sent."""

    made_ms: int
    parts: tuple[Part, ...]

    @property
    def txn_id(self) -> str:
        """The ID, made of its events and its time."""
        text = canonical_json.encode(
            [self.made_ms, [[p.room_id, list(p.ordinals)] for p in self.parts]], strict=False
        )
        return encode_urlsafe(hashlib.sha256(text).digest())

    @property
    def is_empty(self) -> bool:
        return not any(part.ordinals for part in self.parts)

    def to_json(self) -> StoredTransaction:
        """Return the form that `from_json` reads.

        `touched` isn't stored: while no worker sends the backlog, events may be added without a note.
        """
        parts = [[p.room_id, list(p.ordinals), p.until, *([p.since] if p.since else [])] for p in self.parts]
        return {"made_ms": self.made_ms, "parts": parts}

    @classmethod
    def from_json(cls, kept: StoredTransaction) -> Transaction:
        """Return the transaction that `to_json` wrote."""
        parts = (
            Part(log_id, tuple(ordinals), until, since=since[0] if since else 0)
            for log_id, ordinals, until, *since in kept["parts"]
        )
        return cls(kept["made_ms"], tuple(parts))


def body(made_ms: int, events: Sequence[Event], edus: Sequence[Edu] = ()) -> TransactionBody:
    """Return the request's body. The events' `unsigned` is left out, because it is for this server's
    clients.
    """
    pdus = [sendable(event.pdu) for event in events]
    content: TransactionBody = {"origin": settings().server_name, "origin_server_ts": made_ms, "pdus": pdus}
    if edus:
        content["edus"] = list(edus)
    return content


def passing_id(made_ms: int, edus: Sequence[Edu]) -> str:
    """Return the ID of a transaction that has only EDUs that aren't stored."""
    text = canonical_json.encode([made_ms, list(edus)], strict=False)
    return encode_urlsafe(hashlib.sha256(text).digest())


def size(event: Event) -> int:
    """Return how many of a transaction's bytes an event takes."""
    return len(event.to_json().encode()) + 1


class Outcome(enum.Enum):
    """The outcome of sending a transaction."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    """The server answered, and rejects the transaction."""
    FAILED = "failed"
    """The server can't be reached, or asks not to be sent requests for a while."""
    EXCLUDED = "excluded"
    """The operator's lists exclude the server."""


def send(server_name: ServerName, txn_id: str, content: TransactionBody, *, seconds: float) -> Outcome:
    """Send a transaction: one request. Any answer of status 200 counts as delivered."""
    path = client.path("_matrix", "federation", "v1", "send", txn_id)
    try:
        request = client.Request("PUT", path, body=content, seconds=seconds)
        with client.stream(server_name, request, client.Statuses(failures=FAILURES)) as answer:
            answer.json(ANSWER_BYTES)
    except Malformed:
        return Outcome.DELIVERED
    except Unreachable:
        return Outcome.FAILED
    except Refused as error:
        return Outcome.FAILED if error.status == 429 else Outcome.REFUSED
    except Forbidden:
        return Outcome.EXCLUDED
    return Outcome.DELIVERED


def again_ms(server_name: ServerName) -> int:
    """Return when to try a server again after a failure, in milliseconds since the epoch."""
    return max(health.of(server_name).retry_at_ms, now_ms() + 1000)
