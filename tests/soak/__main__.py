"""`python -m tests.soak` runs for about a minute. It fails if a message was missed, repeated or out
of order.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.soak.run import Plan, soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=50, help="how long to write (50)")
    parser.add_argument("--seed", type=int, default=1, help="what chance begins with (1)")
    parser.add_argument("--waiting", choices=("parked", "held"), default="parked")
    parser.add_argument("--waits", choices=("edge", "rest"), default="edge")
    parser.add_argument("--chaos", choices=("none", "twice", "pieces"), default="twice")
    parser.add_argument("--kills", type=int, default=2, help="how often everything is killed (2)")
    parser.add_argument("--servers", type=int, default=1, help="how many of ours share the rooms (1)")
    given = parser.parse_args()
    plan = Plan(
        seconds=given.seconds,
        seed=given.seed,
        waiting=given.waiting,
        waits=given.waits,
        chaos=given.chaos,
        kills=given.kills,
        servers=given.servers,
    )
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(soak(plan, Path(folder)))
    print(report)
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
