"""Invokes a deployed function in a separate process, with its code, layers, handler and environment."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("run_function.py")


class FunctionFailed(Exception):
    """The function raised, or ended without an answer. The message is its log."""


def unpack(content: bytes, below: Path) -> Path:
    """Return the folder below `below` with a zip's files. It is unpacked if it isn't there yet."""
    folder = below / hashlib.sha256(content).hexdigest()[:16]
    if not folder.exists():
        aside = folder.with_suffix(f".{os.getpid()}")
        zipfile.ZipFile(io.BytesIO(content)).extractall(aside)
        aside.rename(folder)
    return folder


def invoke(
    code: bytes,
    layers: Sequence[bytes],
    handler: str,
    environment: Mapping[str, str],
    event: object,
    *,
    below: Path,
) -> Any:
    """Return the function's answer to `event`. Zips are unpacked below `below`. Raises FunctionFailed."""
    paths = [unpack(code, below), *(unpack(layer, below) / "python" for layer in layers)]
    process = subprocess.run(  # noqa: S603
        [sys.executable, str(SCRIPT), handler],
        input=json.dumps(event),
        capture_output=True,
        text=True,
        check=False,
        cwd=below,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(str(path) for path in paths),
            **environment,
        },
    )
    if process.returncode != 0:
        raise FunctionFailed(process.stderr)
    return json.loads(process.stdout)
