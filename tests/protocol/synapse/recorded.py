"""The recorded fixtures, read once."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "fixtures"
VERSIONS = tuple(str(number) for number in range(1, 13))


@cache
def load(name: str) -> Any:
    """Return a fixture by name; treat it as constant."""
    return json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))
