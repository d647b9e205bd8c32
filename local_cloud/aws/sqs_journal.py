"""The messages of FIFO queues on disk, so that queued messages survive kill -9, as with SQS."""

from __future__ import annotations

import json
from collections.abc import Iterator

from local_cloud.aws.sqs_queue import Message
from local_cloud.store import Store


class Journal:
    """The messages of one queue that aren't deleted yet."""

    def __init__(self, store: Store, queue: str) -> None:
        self._store = store
        self._queue = queue

    def add(self, message: Message) -> None:
        self._store.write(
            "INSERT INTO messages VALUES (?, ?, ?, ?, ?)",
            (
                self._queue,
                message.sequence,
                message.sent,
                message.group,
                json.dumps([message.body, message.attributes, message.system_attributes]),
            ),
        )

    def remove(self, message: Message) -> None:
        self._store.write(
            "DELETE FROM messages WHERE queue = ? AND sequence = ?", (self._queue, message.sequence)
        )

    def clear(self) -> None:
        self._store.write("DELETE FROM messages WHERE queue = ?", (self._queue,))

    def read(self) -> Iterator[Message]:
        """Yield the messages in order, as if none had been received."""
        rows = self._store.rows(
            "SELECT sequence, sent, grp, content FROM messages WHERE queue = ? ORDER BY sequence",
            (self._queue,),
        )
        for sequence, sent, group, content in rows:
            body, attributes, system_attributes = json.loads(content)
            yield Message(body, attributes, system_attributes, group, None, sequence, sent)
