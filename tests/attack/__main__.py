"""`python -m tests.attack` runs attacks for some minutes. It fails if a figure exceeds its bound."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.attack.run import Plan, attack


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("--sections", default="ABCD", help="which kinds of attacks to play (ABCD)")
    parser.add_argument("--hold", default="ABCD", help="figures of which kinds must hold (ABCD)")
    parser.add_argument("--seconds", type=float, default=120, help="how long a loop may run (120)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = attack(Plan(sections=given.sections, seconds=given.seconds), Path(folder), print)
    broken = [figure for figure in figures if figure.section in given.hold and not figure.holds]
    print(f"{len(figures)} figures, {len(broken)} of them more than they may be")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
