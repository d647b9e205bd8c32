"""DynamoDB on this machine: dynoxide, a child process over a SQLite file in the data folder.

Its stream table gets the indexes without which each write would scan the stream. The child ends when this
process ends, in whatever way. If the child ends by itself, it is started again.
"""

from __future__ import annotations

import functools
import itertools
import logging
import os
import platform
import secrets
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from local_cloud.data_folder import DataFolder

log = logging.getLogger("local_cloud.database.dynoxide")

_KILLED_WITH_PARENT = """
exec 3<&0
"$@" 3<&- & child=$!
(read -r _ <&3; kill -9 $child) 2>/dev/null & watch=$!
wait $child; status=$?
kill $watch 2>/dev/null
exit $status
"""
"""`sh` reads from a pipe whose other end belongs to this process. When this process ends, so do `sh` and the
child."""

_INDEXES = (
    "CREATE INDEX IF NOT EXISTS murmuration_stream ON _stream_records"
    " (table_name, CAST(sequence_number AS INTEGER))",
    "CREATE INDEX IF NOT EXISTS murmuration_stream_shard ON _stream_records"
    " (table_name, shard_id, CAST(sequence_number AS INTEGER))",
)

PORTS = range(20_000, 32_000)


class DynoxideError(Exception):
    """The database can't be run. The message says what to do."""


def find_binary() -> Path:
    """Return the program's path: from MURMURATION_DYNOXIDE, npm's packages in the current folder or
    above this file, or PATH.
    """
    if given := os.environ.get("MURMURATION_DYNOXIDE"):
        return Path(given)
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(platform.machine().lower())
    package = f"{platform.system().lower()}-{machine or platform.machine().lower()}"
    for folder in (Path.cwd(), *Path(__file__).resolve().parents):
        candidate = folder / "node_modules" / "@dynoxide" / package / "dynoxide"
        if candidate.exists():
            return candidate
    if on_path := shutil.which("dynoxide"):
        return Path(on_path)
    raise DynoxideError(
        "The local DynamoDB, dynoxide, is not here. On Linux with an x86-64 processor run `npm ci` in the "
        "repository's top folder. Elsewhere run `cargo install dynoxide-rs`, or use another DynamoDB by "
        "--dynamodb http://localhost:8000, or --dynamodb moto, which forgets everything when it ends."
    )


def index_streams(database: Path) -> None:
    """Add the indexes to a running dynoxide's file without which each write scans all stream records."""
    connection = sqlite3.connect(database, timeout=30)
    try:
        for statement in _INDEXES:
            connection.execute(statement)
        connection.commit()
    finally:
        connection.close()


@functools.cache
def _ports() -> Iterator[int]:
    """Return this process's endless sequence of ports. Each process begins anywhere in the range."""
    ports = list(PORTS)
    begin = secrets.randbelow(len(ports))
    return itertools.cycle(ports[begin:] + ports[:begin])


def free_port() -> int:
    """Return a port that nobody uses. Further calls return other ports. Raises OSError if all are in use.

    Until the caller listens on it, nobody else is likely to take it: systems don't choose ports of this range
    for outgoing connections, and other processes that call this function are elsewhere in the range.
    """
    for port in itertools.islice(_ports(), len(PORTS)):
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("all ports are in use")


class Dynoxide:
    """The running process. `url` is its endpoint."""

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._lock = threading.Lock()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, patience: float = 60.0) -> None:
        """Start it and wait until it answers. Raises DynoxideError.

        If another process takes the chosen port in the meantime, dynoxide ends, and another port is tried.
        """
        binary = find_binary()
        for _ in range(3):
            self.port = free_port()
            said_before = self._said()
            self._process = self._spawn(binary)
            if self._ready(self._process, patience, said_before):
                index_streams(self._folder.database)
                self._folder.database_url.write_text(self.url)
                threading.Thread(target=self._guard, args=(binary,), name="dynoxide", daemon=True).start()
                return
            _end(self._process)
        raise DynoxideError(f"dynoxide did not start; see {self._folder.database_log}")

    def _spawn(self, binary: Path) -> subprocess.Popen[bytes]:
        arguments = [str(binary), "serve", "--port", str(self.port), "--db-path", str(self._folder.database)]
        with self._folder.database_log.open("ab") as log:
            return subprocess.Popen(
                ["/bin/sh", "-c", _KILLED_WITH_PARENT, "sh", *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(self._folder.lock_descriptor,),
            )

    def _said(self) -> int:
        """Return the length of what dynoxide has written to its log."""
        log_file = self._folder.database_log
        return log_file.stat().st_size if log_file.exists() else 0

    def _ready(self, process: subprocess.Popen[bytes], patience: float, said_before: int) -> bool:
        """Wait until dynoxide accepts connections. Returns False if it ends, or isn't ready in time.

        A connection alone proves nothing: another process may listen on the port. Dynoxide writes to its log
        when it listens, or why it can't.
        """
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and process.poll() is None:
            said = self._folder.database_log.read_bytes()[said_before:]
            if b"error" in said:
                return False
            if said:
                with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    return process.poll() is None
            time.sleep(0.003)
        return False

    def _guard(self, binary: Path) -> None:
        """Start it again, on its port, whenever it ends unexpectedly; at most once a second."""
        while self._process is not None:
            status = self._process.wait()
            with self._lock:
                if self._stopping:
                    return
                log.error("dynoxide ended with status %d; starting it again", status)
                self._process = self._spawn(binary)
            time.sleep(1)

    def stop(self) -> None:
        """End it. It needs no shutdown: every answered write is in SQLite's log."""
        with self._lock:
            self._stopping = True
            process = self._process
        if process is not None:
            self._folder.database_url.unlink(missing_ok=True)
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    process.wait()
