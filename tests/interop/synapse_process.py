"""Synapse's library in a process of its own, as it needs other packages than ours."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
INSTALLED = ROOT / ".setup" / "synapse" / "bin" / "python"


def synapse_python() -> Path | None:
    """Return the Python that has Synapse: MURMURATION_SYNAPSE_PYTHON, else what `setup_synapse` installed."""
    named = os.environ.get("MURMURATION_SYNAPSE_PYTHON")
    if named:
        return Path(named)
    return INSTALLED if INSTALLED.exists() else None


class SynapseError(Exception):
    """Synapse raised while it answered."""


class SynapseProcess:
    """A running `synapse_worker`."""

    def __init__(self, python: Path, module: str = "tests.interop.synapse_worker") -> None:
        self._process = subprocess.Popen(
            [str(python), "-m", module], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, question: str, **about: Any) -> Any:
        """Return the answer to one question. Raises SynapseError with Synapse's message."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"question": question, "about": about}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SynapseError(f"the process ended with {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise SynapseError(answer["error"])
        return answer["answer"]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def __enter__(self) -> SynapseProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
