"""Count operations' requests to DynamoDB, and print them beside their budgets.

    python -m tests.budgets [--verbose]

`--verbose` lists the requests that were made, too.
"""

from __future__ import annotations

import sys

import pytest

from tests.budgets.conftest import COUNTS

HEAD = ("operation", "round trips", "read units", "write units")


class Table:
    """A plugin that prints the counts once the tests are through."""

    def __init__(self, verbose: bool) -> None:
        self._verbose = verbose

    def pytest_terminal_summary(self, config: pytest.Config) -> None:
        rows: list[tuple[str, ...]] = [HEAD]
        counts = config.stash.get(COUNTS, [])
        for budget, spent in counts:
            pairs = (
                (spent.round_trips, budget.round_trips),
                (spent.read_units, budget.read_units),
                (spent.write_units, budget.write_units),
            )
            rows.append((budget.name, *(f"{counted:g} of {bound:g}" for counted, bound in pairs)))
        widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
        print("\n")
        for row in rows:
            print(
                row[0].ljust(widths[0]),
                *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)),
                sep="  ",
            )
        if self._verbose:
            print()
            for budget, spent in counts:
                print(f"{budget.name}: {spent}")


def main() -> int:
    return pytest.main(
        ["-q", "-p", "no:xdist", "tests/budgets/test_budgets.py"],
        plugins=[Table("--verbose" in sys.argv[1:])],
    )


if __name__ == "__main__":
    sys.exit(main())
