"""The estimate of `murmuration cost` is held to what is counted on a local cloud."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.long


@pytest.mark.parametrize("life", ["family", "company"])
def test_the_estimate_is_that_of_the_counts(life: str) -> None:
    """They agree within 15 % for each way of waiting, with the free tier and without."""
    command = [sys.executable, "-m", "benchmarks.bill", life, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)[life]
    for waiting, measured in found["measured"].items():
        assert found["estimated"][waiting] == pytest.approx(measured, rel=0.15), waiting
