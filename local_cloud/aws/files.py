"""Writes files so that each is complete or missing, whenever the process is stopped."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def write_file(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Write `path` atomically and durably: under another name first, synced, then renamed, and the folder
    synced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("wb") as file:
        for chunk in (content,) if isinstance(content, bytes) else content:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
