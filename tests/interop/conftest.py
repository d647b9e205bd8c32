from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .synapse_process import SynapseProcess, synapse_python


@pytest.fixture(scope="session")
def python_with_synapse() -> Path:
    python = synapse_python()
    if python is None:
        pytest.skip(
            "Synapse is not installed: run `make synapse`, or set MURMURATION_SYNAPSE_PYTHON to its python"
        )
    return python


@pytest.fixture(scope="session")
def synapse(python_with_synapse: Path) -> Iterator[SynapseProcess]:
    with SynapseProcess(python_with_synapse) as process:
        yield process
