"""The source code for the tests of the house rules: files, imports, definitions."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "layers/murmuration/python/murmuration"
STANDARD_LIBRARY = sys.stdlib_module_names


def modules(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    """Yield (dotted name, file) of each module below `folder`, the package `name`."""
    for path in sorted(folder.rglob("*.py")):
        parts = [name, *path.relative_to(folder).with_suffix("").parts]
        if parts[-1] == "__init__":
            parts.pop()
        yield ".".join(parts), path


@cache
def tree(path: Path) -> ast.Module:
    """Return the file's syntax tree."""
    return ast.parse(path.read_text(), str(path))


@cache
def imports(path: Path) -> frozenset[str]:
    """Return the dotted names that a file imports anywhere in it, for types only included.

    `from a import b` is both `a` and `a.b`, since `b` may be a module.
    """
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise AssertionError(f"{path}:{node.lineno}: a relative import")
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def within(name: str, *packages: str) -> bool:
    """Return whether a dotted name is one of `packages` or below one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@cache
def tracked_files() -> tuple[Path, ...] | None:
    """Return the files that git tracks and that are there; None where this is no checkout."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True, text=True
        )
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    paths = (REPOSITORY / name for name in listed.stdout.split("\0") if name)
    return tuple(path for path in paths if path.is_file())
