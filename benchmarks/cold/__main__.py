"""`make cold`: the CPU that each function's import and first client take, net of the bare interpreter.

Fresh processes import from a copy of the layers, as compiled and trimmed as those are; the best of several
runs counts. A busy machine makes every number larger.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cold.site import make_site
from infra_cdk.grants import GRANTS
from infra_cdk.layers import ROOT
from murmuration.endpoint import Function, Http, discover

BOUND_MS = 200
HOT_BOUND_MS = 150
HOT = ("client_server-send_message", "client_server-sync", "workers-room_log", "workers-streams")
ENVIRONMENT = {
    "AWS_LAMBDA_FUNCTION_NAME": "cold",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "cold",
    "AWS_SECRET_ACCESS_KEY": "cold",
    "MURMURATION_SERVER_NAME": "cold.example",
}
CLIENTS = {
    "tables": "from murmuration.storage import dynamodb; dynamodb.client()",
    "objects": "from murmuration.storage import objects; objects.client()",
    "queues": "from murmuration.storage import queues; queues.client()",
    "secrets": "from murmuration.storage import parameters; parameters.client()",
}
"""How a function that may use these comes by its first client, the likeliest first."""


@dataclass(frozen=True, slots=True)
class Result:
    """Milliseconds of CPU, net."""

    name: str
    imports: float
    total: float
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
        print(f"{result.total:6.0f} ms of {result.bound}  ({result.imports:.0f} import)  {result.name}{over}")
        if result.modules:
            print("           " + ", ".join(f"{name} {cost:.1f}" for name, cost in result.modules))
    within = sum(result.total <= result.bound for result in results)
    bare = _best("pass", site, args.runs)
    print(f"{within} of {len(results)} within their bounds; the bare interpreter took {bare:.0f} ms")
    return 0 if within == len(results) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cold", description=__doc__)
    parser.add_argument("names", nargs="*", help="operations, such as send_message (all)")
    parser.add_argument("--runs", type=int, default=5, help="processes of which the best counts (5)")
    parser.add_argument("--modules", type=int, default=4, help="how many costly modules to name (4)")
    return parser.parse_args()


def _measure(function: Function, site: Path, runs: int, modules: int) -> Result:
    imports = f"import {function.module}"
    grant = GRANTS[function.group]
    without = "" if isinstance(function.route, Http) else CLIENTS["tables"]  # workers all read tables
    first = next((text for kind, text in CLIENTS.items() if getattr(grant, kind)), without)
    best = {code: _net(code, site, runs) for code in {imports, f"{imports}\n{first}"}}
    return Result(
        function.name,
        best[imports],
        best[f"{imports}\n{first}"],
        HOT_BOUND_MS if function.name in HOT else BOUND_MS,
        _costly(f"{imports}\n{first}", site, modules) if modules else (),
    )


def _net(code: str, site: Path, runs: int) -> float:
    """The best CPU of `code`, less that of nothing; the two take turns, so that both meet the same load."""
    with_code, without = [], []
    for _ in range(runs):
        with_code.append(_cpu_ms(code, site))
        without.append(_cpu_ms("pass", site))
    return min(with_code) - min(without)


def _best(code: str, site: Path, runs: int) -> float:
    return min(_cpu_ms(code, site) for _ in range(runs))


def command(code: str, site: Path, *options: str) -> tuple[list[str], dict[str, str]]:
    """How to run `code` as Lambda would: our layers and the function's file on the path, and nothing else."""
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
    """The modules whose own execution takes longest, in milliseconds of wall time."""
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
