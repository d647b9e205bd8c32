"""Installs Synapse, pinned, into .setup/synapse, apart from the project's own packages: `make synapse`."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

from .synapse_process import INSTALLED, ROOT

REQUIREMENTS = Path(__file__).with_name("synapse-requirements.txt")


def main() -> None:
    if not INSTALLED.exists():
        venv.create(INSTALLED.parents[1], with_pip=True)
    command = [str(INSTALLED), "-m", "pip", "install", "--quiet", "--requirement", str(REQUIREMENTS)]
    completed = subprocess.run(command, check=False)
    if completed.returncode:
        sys.exit(completed.returncode)
    print(f"Synapse is in {INSTALLED.parents[1].relative_to(ROOT)}")


if __name__ == "__main__":
    main()
