"""The local cloud's own SQLite file: S3's index, SSM's parameters, FIFO queues' messages, the pollers'
checkpoints.

Every commit is synced to disk before it is answered, so that stored data survives kill -9 and power loss.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS buckets (name TEXT PRIMARY KEY, created REAL NOT NULL);
CREATE TABLE IF NOT EXISTS objects (
    bucket TEXT NOT NULL, key TEXT NOT NULL, file TEXT NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
    modified REAL NOT NULL, properties TEXT NOT NULL, PRIMARY KEY (bucket, key)
);
CREATE TABLE IF NOT EXISTS uploads (
    id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key TEXT NOT NULL, properties TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS parts (
    upload TEXT NOT NULL, number INTEGER NOT NULL, file TEXT NOT NULL, size INTEGER NOT NULL,
    etag TEXT NOT NULL, PRIMARY KEY (upload, number)
);
CREATE TABLE IF NOT EXISTS parameters (
    name TEXT PRIMARY KEY, type TEXT NOT NULL, value TEXT NOT NULL, version INTEGER NOT NULL,
    modified REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS messages (
    queue TEXT NOT NULL, sequence INTEGER NOT NULL, sent REAL NOT NULL, grp TEXT, content TEXT NOT NULL,
    PRIMARY KEY (queue, sequence)
);
CREATE TABLE IF NOT EXISTS checkpoints (mapping TEXT PRIMARY KEY, position INTEGER NOT NULL);
"""


class Store:
    """A connection to the file, shared by all threads, one statement or transaction at a time."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._lock = threading.RLock()
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def rows(self, statement: str, parameters: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connection.execute(statement, tuple(parameters)).fetchall()

    def row(self, statement: str, parameters: Iterable[Any] = ()) -> tuple[Any, ...] | None:
        with self._lock:
            found: tuple[Any, ...] | None = self._connection.execute(statement, tuple(parameters)).fetchone()
            return found

    def write(self, statement: str, parameters: Iterable[Any] = ()) -> int:
        """Run one statement. Returns how many rows it changed."""
        with self._lock:
            return self._connection.execute(statement, tuple(parameters)).rowcount

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Store everything that is written inside the block, or nothing."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
