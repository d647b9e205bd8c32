"""Measure the bill for examples of use, and print it beside the estimate of `murmuration cost`.

    python -m benchmarks.bill [family] [club] [community] [company] [--json]

For each example a local cloud counts what each operation uses, with as many rooms, and as many people in
them, as in the example. How often each operation happens comes from the same model as in the estimate, so no
hour has to be waited. It prints dollars a month for each way of waiting, and what they are spent on.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.bill.measures import measure
from operators.costs import model
from operators.costs.bill import bill, bill_causes
from operators.costs.counts import Counts
from operators.costs.lives import LIVES
from operators.costs.usage import ASSUMPTIONS, WAITING, Life, Setup, estimate, estimate_causes

REST = Setup(api="rest", waits="rest")
"""The settings that use REST APIs for everything."""


def dollars(life: Life, counts: Counts, setup: Setup) -> dict[str, tuple[float, float]]:
    """Return a month's bill for each way of waiting, with the free amounts and without them."""
    found: dict[str, tuple[float, float]] = {}
    for waiting in WAITING:
        used = estimate(life, waiting, ASSUMPTIONS, setup, counts)
        found[waiting] = (sum(bill(used, free_tier=True).values()), sum(bill(used, free_tier=False).values()))
    return found


def main(arguments: list[str]) -> int:
    names = [name for name in arguments if not name.startswith("-")] or list(LIVES)
    results = {}
    for name in names:
        life = LIVES[name]
        with tempfile.TemporaryDirectory() as folder:
            counted = measure(Path(folder), int(life.rooms), int(life.audience), int(life.devices))
        estimated = model.counts(life.rooms, life.audience, life.devices)
        if "--json" in arguments:
            results[name] = {
                "measured": dollars(life, counted, Setup()),
                "estimated": dollars(life, estimated, Setup()),
            }
        else:
            _print(name, life, counted, estimated)
    if results:
        print(json.dumps(results, indent=1))
    return 0


def _print(name: str, life: Life, counted: Counts, estimated: Counts) -> None:
    print(f"\n{name}: {life}\n")
    print(f"{'':14}{'requests':>24}{'invocations':>24}{'reads':>24}{'writes':>24}{'queue':>24}")
    for field in dataclasses.fields(Counts):
        ours, theirs = getattr(counted, field.name), getattr(estimated, field.name)
        if isinstance(ours, float):
            print(f"{field.name}: {ours:.2f} counted, {theirs:.2f} in the model")
            continue
        pairs = zip(dataclasses.astuple(ours), dataclasses.astuple(theirs), strict=True)
        print(f"{field.name:14}" + "".join(f"{f'{one:.2f} ({other:.2f})':>24}" for one, other in pairs))
    print(f"\n{'dollars a month':24}" + "".join(f"{waiting:>24}" for waiting in WAITING))
    for title, counts, setup in (
        ("counted", counted, Setup()),
        ("the model's", estimated, Setup()),
        ("counted, with REST APIs", counted, REST),
        ("the model's, with REST", estimated, REST),
    ):
        found = dollars(life, counts, setup)
        shown = "".join(f"{f'{free:,.2f} ({listed:,.2f})':>24}" for free, listed in found.values())
        print(f"{title:24}{shown}")
    for waiting in WAITING:
        causes = bill_causes(estimate_causes(life, waiting, ASSUMPTIONS, Setup(), counted))
        sums = sorted(((sum(spent.values()), cause) for cause, spent in causes.items()), reverse=True)
        print(f"{waiting}: " + ", ".join(f"{cause} {spent:,.2f}" for spent, cause in sums if spent >= 0.005))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
