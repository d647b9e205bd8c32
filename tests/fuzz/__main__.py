"""`python -m tests.fuzz --requests N --seed S` fails if any request causes a server error."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.run import Fuzzer
from tests.fuzz.target import target


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=5000, help="how many requests (5000)")
    parser.add_argument("--seed", type=int, default=1, help="what chance begins with (1)")
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, target(Path(folder)) as asked:
        report = Fuzzer(asked, given.seed).run(given.requests)
    print(report)
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
