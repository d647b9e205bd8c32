"""The data folder: used by one server at a time, with the files of each part."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import IO


class DataFolderInUse(Exception):
    """Another server uses the data folder. The message says which."""


class DataFolder:
    """A folder that only this process uses, from `open` to `close`.

    The database process inherits the lock, so that it is free only after both have ended.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None

    def open(self, patience: float = 30.0) -> None:
        """Create the folder and lock it. Waits up to `patience` seconds for a killed server's database to
        end.

        Raises DataFolderInUse.
        """
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (self.path / "lock").open("a+")
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                lock.seek(0)
                owner = lock.read().strip()
                if (owner and _alive(int(owner))) or time.monotonic() > deadline:
                    lock.close()
                    raise DataFolderInUse(
                        f"Another server (process {owner or 'unknown'}) is using the data folder "
                        f"{self.path}; stop it, or choose another folder with --data."
                    ) from None
                time.sleep(0.01)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    @property
    def lock_descriptor(self) -> int:
        """The file descriptor that holds the lock, for a child process to inherit."""
        if self._lock is None:
            raise RuntimeError("the data folder is not open")
        return self._lock.fileno()

    def close(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def database(self) -> Path:
        """DynamoDB's SQLite file."""
        return self.path / "dynamodb.sqlite3"

    @property
    def database_log(self) -> Path:
        return self.path / "dynamodb.log"

    @property
    def database_url(self) -> Path:
        """The file that has the running database's URL."""
        return self.path / "dynamodb.url"

    @property
    def store(self) -> Path:
        """The SQLite file for everything else: objects' metadata, parameters, checkpoints."""
        return self.path / "cloud.sqlite3"

    @property
    def environment(self) -> Path:
        """The functions' environment when they were last served, as JSON, without secrets."""
        return self.path / "environment.json"

    @property
    def usage(self) -> Path:
        """The file with the usage that the last server with a meter counted here."""
        return self.path / "usage.json"

    @property
    def objects(self) -> Path:
        """The folder with the bodies of S3's objects."""
        return self.path / "objects"

    @property
    def mail(self) -> Path:
        """The folder of sent mail, one .eml file each."""
        return self.path / "mail"


def _alive(process: int) -> bool:
    if process == os.getpid():
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
