"""Element's library for JavaScript, as the web client uses it: two people in one process of Node."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from local_cloud.testing import LocalCloud

pytestmark = pytest.mark.long

SCRIPT = Path(__file__).with_name("two_people.mjs")
LIBRARY = Path("node_modules/matrix-js-sdk")
PATIENCE_S = 240


def test_two_people(shared_cloud: LocalCloud) -> None:
    node = shutil.which("node")
    if node is None or not LIBRARY.is_dir():
        pytest.skip("matrix-js-sdk is not installed: npm ci")
    done = subprocess.run(
        [node, SCRIPT, shared_cloud.url], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
