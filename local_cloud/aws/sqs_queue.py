"""One SQS queue: visibility, delay, FIFO groups, deduplication, long polls, dead letters.

A receiver waits on its queue's condition, which uses no CPU. FIFO works as in SQS. A group's messages come in
order, and while one is in flight the group's others wait. If a message is sent twice with one deduplication
id within five minutes, the second is accepted and dropped, even if the first has been deleted since.

Messages are in memory. Those of a FIFO queue are also on disk, if it has a journal (`sqs_journal`). Code that
uses other queues must be able to find lost work again from DynamoDB.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from local_cloud.aws.shapes import MessageAttribute

DEDUPLICATION_SECONDS = 300.0
IN_FLIGHT_LIMIT = 120_000


@dataclass(slots=True, eq=False)
class Message:
    """A queued message. `sequence` orders a queue's messages; times are time.time() seconds."""

    body: str
    attributes: Mapping[str, MessageAttribute]
    system_attributes: Mapping[str, MessageAttribute]
    group: str | None
    deduplication: str | None
    sequence: int
    sent: float
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    first_received: float = 0.0
    receive_count: int = 0
    receipt: str = ""
    visible_at: float = 0.0
    deleted: bool = False

    @property
    def sequence_number(self) -> str:
        """The sequence number in SQS's form: 20 digits."""
        return f"{18_870_000_000_000_000_000 + self.sequence}"


@dataclass(slots=True)
class _Group:
    waiting: list[Message] = field(default_factory=list)
    in_flight: int = 0


def _by_sequence(message: Message) -> int:
    return message.sequence


class Durable(Protocol):
    """The interface of the storage of a queue's messages."""

    def add(self, message: Message) -> None: ...
    def remove(self, message: Message) -> None: ...
    def clear(self) -> None: ...
    def read(self) -> Iterable[Message]: ...


class Queue:
    """A queue. Attribute values are strings, as in SQS's API."""

    def __init__(self, name: str, attributes: dict[str, str], journal: Durable | None = None) -> None:
        self.name = name
        self.fifo = name.endswith(".fifo")
        self.attributes = dict(attributes)
        self.created = time.time()
        self.dead_letter: Queue | None = None
        self.max_receive_count = 0
        self._changed = threading.Condition()
        self._sequence = itertools.count(1)
        self._groups: OrderedDict[str | None, _Group] = OrderedDict()
        self._receipts: dict[str, Message] = {}
        self._hidden: list[tuple[float, int, Message]] = []
        self._sent_before: OrderedDict[str, tuple[float, Message]] = OrderedDict()
        self._closed = False
        self._journal = journal
        if journal is not None:
            self._restore(journal)

    def _restore(self, journal: Durable) -> None:
        last = 0
        with self._changed:
            for message in journal.read():
                self._offer(message)
                last = message.sequence
        self._sequence = itertools.count(last + 1)

    def number(self, attribute: str, default: float) -> float:
        return float(self.attributes.get(attribute, default))

    # Sending

    def send(
        self,
        body: str,
        *,
        attributes: Mapping[str, MessageAttribute] | None = None,
        system_attributes: Mapping[str, MessageAttribute] | None = None,
        group: str | None = None,
        deduplication: str | None = None,
        delay: float | None = None,
    ) -> Message:
        """Queue a message. Returns the earlier one if this is its duplicate."""
        now = time.time()
        with self._changed:
            if (
                self.fifo
                and deduplication is not None
                and (earlier := self._duplicate(group, deduplication, now))
            ):
                return earlier
            message = Message(
                body,
                dict(attributes or {}),
                dict(system_attributes or {}),
                group,
                deduplication,
                next(self._sequence),
                now,
            )
            if self.fifo and deduplication is not None:
                self._sent_before[self._deduplication_key(group, deduplication)] = (now, message)
            if self._journal is not None:
                self._journal.add(message)
            delay = self.number("DelaySeconds", 0) if delay is None else delay
            if delay > 0:
                self._hide(message, now + delay)
            else:
                self._offer(message)
            return message

    def _deduplication_key(self, group: str | None, deduplication: str) -> str:
        if self.attributes.get("DeduplicationScope") == "messageGroup":
            return f"{group}\0{deduplication}"
        return deduplication

    def _duplicate(self, group: str | None, deduplication: str, now: float) -> Message | None:
        while self._sent_before:
            key, (sent, _) = next(iter(self._sent_before.items()))
            if now - sent < DEDUPLICATION_SECONDS:
                break
            del self._sent_before[key]
        earlier = self._sent_before.get(self._deduplication_key(group, deduplication))
        return earlier[1] if earlier else None

    # Receiving

    def receive(self, count: int, wait: float, visibility: float | None = None) -> list[Message]:
        """Return up to `count` messages, which are then in flight. Waits up to `wait` seconds for the
        first.
        """
        visibility = self.number("VisibilityTimeout", 30) if visibility is None else visibility
        deadline = time.monotonic() + wait
        with self._changed:
            while True:
                self._reveal()
                if messages := self._take(count, visibility):
                    return messages
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return []
                if self._closed:
                    self._changed.wait(min(remaining, 0.05))
                    return []
                if self._hidden:
                    remaining = min(remaining, max(self._hidden[0][0] - time.time(), 0.001))
                self._changed.wait(remaining)

    def _take(self, count: int, visibility: float) -> list[Message]:
        taken: list[Message] = []
        now = time.time()
        oldest = now - self.number("MessageRetentionPeriod", 345_600)
        if len(self._receipts) >= IN_FLIGHT_LIMIT:
            return taken
        for key in list(self._groups):
            group = self._groups[key]
            if self.fifo and group.in_flight:
                continue
            start = len(taken)
            while group.waiting and len(taken) < count:
                message = group.waiting.pop(0)
                if message.sent < oldest:
                    self._receipts.pop(message.receipt, None)
                    self._forget(message)
                    continue
                if self.dead_letter is not None and message.receive_count >= self.max_receive_count:
                    self._move(message, self.dead_letter)
                    continue
                taken.append(message)
            group.in_flight += len(taken) - start
            if not group.waiting and not group.in_flight:
                del self._groups[key]
            if len(taken) == count:
                break
        for message in taken:
            message.receive_count += 1
            message.first_received = message.first_received or now
            self._receipts.pop(message.receipt, None)
            message.receipt = uuid.uuid4().hex + uuid.uuid4().hex
            self._receipts[message.receipt] = message
            self._hide(message, now + visibility)
        return taken

    def _move(self, message: Message, queue: Queue) -> None:
        self._receipts.pop(message.receipt, None)
        queue.send(
            message.body,
            attributes=message.attributes,
            system_attributes=message.system_attributes,
            group=message.group,
            deduplication=message.id,
        )
        self._forget(message)

    def _forget(self, message: Message) -> None:
        if self._journal is not None:
            self._journal.remove(message)

    # Visibility

    def _offer(self, message: Message) -> None:
        message.visible_at = 0.0
        key = message.group if self.fifo else None
        group = self._groups.setdefault(key, _Group())
        bisect.insort(group.waiting, message, key=_by_sequence)
        self._changed.notify()

    def _hide(self, message: Message, until: float) -> None:
        message.visible_at = until
        heapq.heappush(self._hidden, (until, message.sequence, message))
        if self._hidden[0][2] is message:
            self._changed.notify_all()  # a waiter sleeps no longer than until the earliest time

    def _reveal(self) -> None:
        now = time.time()
        while self._hidden and self._hidden[0][0] <= now:
            until, _, message = heapq.heappop(self._hidden)
            if not message.deleted and message.visible_at == until:
                self._release(message)
                self._offer(message)

    def _release(self, message: Message) -> None:
        """Take the message out of flight, so that its group continues."""
        key = message.group if self.fifo else None
        group = self._groups.get(key)
        if group is not None and message.receipt in self._receipts:
            group.in_flight -= 1
            if not group.waiting and not group.in_flight:
                del self._groups[key]
            elif group.waiting and not group.in_flight:
                self._changed.notify()

    def delete(self, receipt: str) -> None:
        """Delete the message that was received with `receipt`. A receipt from an earlier receive does
        nothing.
        """
        with self._changed:
            message = self._receipts.get(receipt)
            if message is None:
                return
            message.deleted = True
            self._forget(message)
            if message.visible_at:
                self._release(message)
            else:
                self._groups[message.group if self.fifo else None].waiting.remove(message)
            del self._receipts[receipt]

    def repeat(self, receipt: str) -> bool:
        """Make a message visible again that was received once.

        Returns False if it was received more often, or never.
        """
        with self._changed:
            message = self._receipts.get(receipt)
            if message is None or message.receive_count > 1 or not message.visible_at:
                return False
            self._release(message)
            self._offer(message)
            return True

    def change_visibility(self, receipt: str, timeout: float) -> bool:
        """Hide an in-flight message for `timeout` seconds from now. Returns False if it isn't in flight."""
        with self._changed:
            message = self._receipts.get(receipt)
            if message is None or not message.visible_at:
                return False
            if timeout > 0:
                self._hide(message, time.time() + timeout)
            else:
                self._release(message)
                self._offer(message)
            return True

    # The rest

    def counts(self) -> tuple[int, int, int]:
        """Return how many messages are visible, in flight, and delayed."""
        with self._changed:
            self._reveal()
            visible = sum(len(group.waiting) for group in self._groups.values())
            in_flight = sum(group.in_flight for group in self._groups.values())
            hidden = {id(m) for until, _, m in self._hidden if not m.deleted and m.visible_at == until}
            return visible, in_flight, max(0, len(hidden) - in_flight)

    def purge(self) -> None:
        with self._changed:
            self._groups.clear()
            self._receipts.clear()
            self._hidden.clear()
            if self._journal is not None:
                self._journal.clear()

    def close(self) -> None:
        """Make waiting receivers return without messages."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
