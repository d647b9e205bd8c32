"""The recorded fixtures are what the installed Synapse answers today."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import pytest

from .synapse_process import ROOT

FIXTURES = ROOT / "tests" / "protocol" / "synapse" / "fixtures"


def test_recording_again_gives_the_same(python_with_synapse: Path, tmp_path: Path) -> None:
    command = [str(python_with_synapse), "-m", "tests.interop.record_synapse_events", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    names = sorted(path.name for path in FIXTURES.iterdir())
    assert names == sorted(path.name for path in tmp_path.iterdir())
    for name in names:
        recorded, again = (
            json.loads(gzip.decompress((folder / name).read_bytes())) for folder in (FIXTURES, tmp_path)
        )
        if recorded.pop("synapse") != again.pop("synapse"):
            pytest.skip("another version of Synapse than the one recorded is installed")
        assert recorded == again, name
