"""Which tests take long: `slow.txt` lists them, and `make test` leaves them out as those marked `long`.

To measure anew, on a machine that does nothing else:

    pytest -n 2 --dist loadgroup --ignore tests/interop/scenarios --junitxml=times.xml tests
    python -m tests.slow times.xml
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_name("slow.txt")
FILE_S, FUNCTION_S = 0.2, 0.2
"""Seconds that a test of a file, or a case of a function, takes on average where it is slow."""
LEAST_S = 1.0
"""A file that takes less in all is never slow."""


def read() -> frozenset[str]:
    """Return the slow files, by path, and other files' slow functions, by path::class::function."""
    return frozenset(line for line in LIST.read_text().splitlines() if line)


def is_slow(node_id: str, slow: frozenset[str]) -> bool:
    """Return whether a test is in the list, by pytest's name of it."""
    path, _, rest = node_id.partition("::")
    function = f"{path}::{rest.partition('[')[0].partition('@')[0]}"
    return path in slow or function in slow


def _times(report: Path) -> Iterator[tuple[str, str, float]]:
    """Yield (path, path::class::function, seconds) of each test of a run."""
    for case in ElementTree.parse(report).iter("testcase"):
        parts = case.get("classname", "").split(".")
        lengths = range(len(parts), 0, -1)
        length = next(n for n in lengths if ROOT.joinpath(*parts[:n]).with_suffix(".py").is_file())
        path = "/".join(parts[:length]) + ".py"
        name = case.get("name", "").partition("[")[0].partition("@")[0]
        yield path, "::".join([path, *parts[length:], name]), float(case.get("time", "0"))


def _mean(seconds: Iterable[float]) -> float:
    found = list(seconds)
    return sum(found) / len(found)


def _find(times: Iterable[tuple[str, str, float]]) -> list[str]:
    files: Mapping[str, list[float]] = defaultdict(list)
    functions: Mapping[tuple[str, str], list[float]] = defaultdict(list)
    for path, function, seconds in times:
        files[path].append(seconds)
        functions[path, function].append(seconds)
    slow = {path for path, each in files.items() if _mean(each) >= FILE_S and sum(each) >= LEAST_S}
    alone = {name: _mean(each) for (path, name), each in functions.items() if path not in slow}
    return sorted(slow | {name for name, mean in alone.items() if mean >= FUNCTION_S})


if __name__ == "__main__":
    LIST.write_text("\n".join(_find(_times(Path(sys.argv[1])))) + "\n")
