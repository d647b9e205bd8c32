"""tests/slow.txt names existing tests only, so that a renamed test isn't silently counted as quick."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from tests import slow


def test_each_listed_test_exists() -> None:
    listed = slow.read()
    files = {entry.partition("::")[0] for entry in listed}
    existing = {name for file in files for name in _names(file)}
    assert listed - existing == set()


def _names(file: str) -> Iterator[str]:
    """Yield the names of a file and of its tests, as slow.txt has them; nothing if there is no such file."""
    path = slow.ROOT / file
    if path.is_file():
        yield file
        yield from _functions(file, ast.parse(path.read_text()).body)


def _functions(within: str, statements: Iterable[ast.stmt]) -> Iterator[str]:
    for each in statements:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{within}::{each.name}"
        elif isinstance(each, ast.ClassDef):
            yield from _functions(f"{within}::{each.name}", each.body)
