"""`make cold`: the CPU time of each function's import and first client, without that of the bare interpreter.

Fresh processes import from a copy of the layers, compiled and trimmed like those; the best of several runs is
used. A busy machine doubles every number, so each is measured alternately with botocore in its released form,
and scaled to a machine on which that takes 225 ms: the idle machine for which the bounds were set.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import botocore

from benchmarks.cold.site import make_site
from infra_cdk.layers import ROOT
from infra_shared.grants import GRANTS
from murmuration.endpoint import Function, Http, discover

BOUND_MS = 200
HOT_BOUND_MS = 110
YARDSTICK_MS = 225
YARDSTICK = "from botocore.session import Session; Session().create_client('dynamodb')"
HOT = (
    "client_server-send_message",
    "client_server-sync",
    "client_server-set_typing",
    "client_server-post_receipt",
    "workers-room_log",
    "workers-streams",
)
"""The functions for which users of a small server wait while no process is warm."""
ENVIRONMENT = {
    "AWS_LAMBDA_FUNCTION_NAME": "cold",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "cold",
    "AWS_SECRET_ACCESS_KEY": "cold",
    "MURMURATION_SERVER_NAME": "cold.example",
}
CLIENTS = {
    "tables": "from murmuration.aws import calls; calls._wire('dynamodb')",
    "objects": "from murmuration.aws import objects; objects.client()",
    "queues": "from murmuration.aws import calls; calls._wire('sqs')",
    "secrets": "from murmuration.aws import calls; calls._wire('ssm')",
}
"""How a function that may use these services gets its first client, the likeliest first."""


@dataclass(frozen=True, slots=True)
class Result:
    """Milliseconds of CPU, without the interpreter's: `total` is scaled by the yardstick, `measured`
    isn't.
    """

    name: str
    total: float
    measured: float
    bound: int
    modules: Sequence[tuple[str, float]]


def main() -> int:
    args = _arguments()
    site = make_site()
    functions = [found for found in discover() if not args.names or found.name.endswith(tuple(args.names))]
    results = []
    for number, function in enumerate(functions, 1):
        print(f"\r{number} of {len(functions)}: {function.name[:60]:60}", end="", file=sys.stderr, flush=True)
        results.append(_measure(function, site, args.runs, args.modules))
    print("\r" + " " * 76, end="\r", file=sys.stderr)
    for result in sorted(results, key=lambda each: each.bound - each.total):
        over = "  over" if result.total > result.bound else ""
        print(f"{result.total:6.0f} ms of {result.bound}  ({result.measured:.0f} here)  {result.name}{over}")
        if result.modules:
            print("           " + ", ".join(f"{name} {cost:.1f}" for name, cost in result.modules))
    within = sum(result.total <= result.bound for result in results)
    print(f"{within} of {len(results)} within their bounds")
    return 0 if within == len(results) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cold", description=__doc__)
    parser.add_argument("names", nargs="*", help="operations, such as send_message (all)")
    parser.add_argument("--runs", type=int, default=3, help="processes of which the best counts (3)")
    parser.add_argument("--modules", type=int, default=4, help="how many costly modules to name (4)")
    return parser.parse_args()


def _measure(function: Function, site: Path, runs: int, modules: int) -> Result:
    grant = GRANTS.get(function.group)
    if grant is None:
        raise SystemExit(f"infra_shared/grants says nothing of {function.group}")
    without = "" if isinstance(function.route, Http) else CLIENTS["tables"]  # all workers read tables
    first = next((text for kind, text in CLIENTS.items() if getattr(grant, kind)), without)
    code = f"import {function.module}\n{first}"
    measured, yardstick = _net(code, site, runs)
    return Result(
        function.name,
        measured * YARDSTICK_MS / yardstick,
        measured,
        HOT_BOUND_MS if function.name in HOT else BOUND_MS,
        _costly(code, site, modules) if modules else (),
    )


def _net(code: str, site: Path, runs: int) -> tuple[float, float]:
    """Return the best CPU time of `code` and of the yardstick, minus that of an empty program.

    They run alternately, so that the machine's load affects both.
    """
    installed = Path(botocore.__file__).parents[1]
    kinds = ((code, site), (YARDSTICK, installed), ("pass", site))
    rounds = [[_cpu_ms(each, path) for each, path in kinds] for _ in range(runs)]
    found, yardstick, bare = (min(column) for column in zip(*rounds, strict=True))
    return found - bare, yardstick - bare


def command(code: str, site: Path, *options: str) -> tuple[list[str], dict[str, str]]:
    """Return the command and environment that run `code` as Lambda would, with only our layers and the
    function's file.
    """
    path = os.pathsep.join((str(ROOT), str(site)))
    return [sys.executable, "-S", *options, "-c", code], {**ENVIRONMENT, "PYTHONPATH": path}


def _cpu_ms(code: str, site: Path) -> float:
    arguments, environment = command(code, site)
    process = os.spawnve(os.P_NOWAIT, arguments[0], arguments, environment)  # noqa: S606 - this interpreter
    _, status, usage = os.wait4(process, 0)
    if status:
        raise RuntimeError(f"failed to run {code!r}")
    return (usage.ru_utime + usage.ru_stime) * 1000


def _costly(code: str, site: Path, count: int) -> list[tuple[str, float]]:
    """Return the modules whose own execution takes longest, in milliseconds of wall time."""
    arguments, environment = command(code, site, "-X", "importtime")
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)  # noqa: S603
    found = []
    for line in done.stderr.splitlines():
        own, _, rest = line.removeprefix("import time:").partition("|")
        if own.strip().isdecimal():
            found.append((rest.partition("|")[2].strip(), int(own) / 1000))
    return sorted(found, key=lambda each: -each[1])[:count]


if __name__ == "__main__":
    sys.exit(main())
