"""Reads the records of tables' streams from dynoxide's SQLite file, and notifies readers of new ones.

The rows are read directly, because GetRecords over HTTP costs fifty times as much, and its sequence numbers
start again once a table's records are deleted. A row's id orders all records by commit, and is never used
twice.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from local_cloud.names import REGION, stream_arn

KEPT_SECONDS = 86_400
_SEQUENCE_BASE = 10**20


class Record(NamedTuple):
    """A stream record; `position` is its position among all records, `event` is the event for a function."""

    position: int
    event: dict[str, Any]


def sequence_number(position: int) -> str:
    """Return a record's sequence number: 21 digits, the minimum of DynamoDB's."""
    return str(_SEQUENCE_BASE + position)


class Changes:
    """A counter that increases when something was written. Waiting for it uses no CPU."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._version = 0
        self._closed = False

    def notify(self) -> None:
        with self._condition:
            self._version += 1
            self._condition.notify_all()

    def wait(self, seen: int, timeout: float) -> int:
        """Wait until the counter differs from `seen`, at most `timeout` seconds. Returns the counter."""
        with self._condition:
            self._condition.wait_for(lambda: self._version != seen or self._closed, timeout)
            return self._version

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify_all()


class StreamReader:
    """Reads one table's stream, for one thread."""

    def __init__(self, database: Path, table: str) -> None:
        self._connection = sqlite3.connect(
            f"file:{database}?mode=ro", uri=True, isolation_level=None, timeout=10
        )
        self._connection.execute("PRAGMA query_only = 1")
        self._table = table
        row = self._connection.execute(
            "SELECT stream_label, stream_view_type FROM _tables WHERE table_name = ?", (table,)
        ).fetchone()
        self._arn = stream_arn(table, row[0] if row and row[0] else "none")
        self._view = row[1] if row else None
        self._scanned = 0

    def read(self, after: int, limit: int) -> list[Record]:
        """Return up to `limit` records past the position `after`, in order."""
        after = max(after, self._scanned)
        last = self._connection.execute("SELECT MAX(id) FROM _stream_records").fetchone()[0] or 0
        rows = self._connection.execute(
            "SELECT id, event_name, keys_json, new_image, old_image, created_at, user_identity"
            " FROM _stream_records NOT INDEXED WHERE id > ? AND table_name = ? ORDER BY id LIMIT ?",
            (after, self._table, limit),
        ).fetchall()
        if not rows:
            self._scanned = last  # up to here there were only other tables' records
        return [Record(row[0], self._event(row)) for row in rows]

    def _event(self, row: tuple[Any, ...]) -> dict[str, Any]:
        position, name, keys, new, old, created, user = row
        change: dict[str, Any] = {"ApproximateCreationDateTime": float(created), "Keys": json.loads(keys)}
        if new is not None:
            change["NewImage"] = json.loads(new)
        if old is not None:
            change["OldImage"] = json.loads(old)
        change["SequenceNumber"] = sequence_number(position)
        change["SizeBytes"] = len(keys) + len(new or "") + len(old or "")
        change["StreamViewType"] = self._view
        event = {
            "eventID": f"{position:032x}",
            "eventName": name,
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": REGION,
            "dynamodb": change,
            "eventSourceARN": self._arn,
        }
        if user is not None:
            event["userIdentity"] = json.loads(user)
        return event

    def close(self) -> None:
        self._connection.close()


def watch(database: Path, changes: Changes, stop: threading.Event, interval: float = 0.1) -> None:
    """Count writes by other processes too, until `stop`, by polling a counter in shared memory."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, isolation_level=None, timeout=10)
    seen = None
    while not stop.wait(interval):
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        if version != seen:
            seen = version
            changes.notify()
    connection.close()


def trim(database: Path, done: int) -> int:
    """Delete records that are older than a day and not past `done`, as DynamoDB does. Returns how many.

    Each table's newest record stays, because dynoxide numbers the next one after it.
    """
    connection = sqlite3.connect(database, isolation_level=None, timeout=10)
    try:
        total = 0
        while True:
            gone = connection.execute(
                "DELETE FROM _stream_records WHERE id IN (SELECT id FROM _stream_records WHERE created_at < ?"
                " AND id <= ? AND id NOT IN (SELECT MAX(id) FROM _stream_records GROUP BY table_name)"
                " LIMIT 500)",
                (time.time() - KEPT_SECONDS, done),
            ).rowcount
            total += gone
            if gone < 500:
                return total
    finally:
        connection.close()
