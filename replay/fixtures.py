"""Fixture files: a raw event, and beside it the expected outcome."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = "events_fixtures"
WORLDS = "worlds"
_SUFFIX = ".expected.json"
_NAME = re.compile(r"\{\{(\w+)\}\}")
_FIELDS = frozenset(
    ("about", "worlds", "clock", "settings", "status", "headers", "body", "answer", "items", "deleted",
     "objects", "messages", "posts")
)  # fmt: skip


class BadFixture(Exception):
    """A fixture's file can't be used. The message says which and why."""


@dataclass(frozen=True, slots=True)
class Fixture:
    """An event for a function, and its expected outcome: the content of `*.expected.json`, or {} if there is
    none.
    """

    path: Path
    root: Path
    event: Mapping[str, Any]
    expected: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The fixture's name, such as `client_server/devices/get_device/good`."""
        return self.path.relative_to(self.root).with_suffix("").as_posix()

    @property
    def module(self) -> str:
        """The function's module."""
        return ".".join(("functions", *self.path.relative_to(self.root).parent.parts))

    @property
    def worlds(self) -> tuple[str, ...]:
        return tuple(self.expected.get("worlds", ()))

    @property
    def worlds_folder(self) -> Path:
        return self.root / WORLDS

    def handler(self) -> Callable[[Any, Any], Any]:
        """Return the function's entry point. Raises BadFixture."""
        try:
            found: Callable[[Any, Any], Any] = importlib.import_module(self.module).handler
        except ModuleNotFoundError as error:
            raise BadFixture(f"{self.path} is for {self.module}, which there isn't") from error
        return found


def fixtures_root(path: Path) -> Path:
    """Return the folder of all fixtures that contains `path`. Raises BadFixture."""
    for folder in path.resolve().parents:
        if folder.name == FOLDER:
            return folder
    raise BadFixture(f"{path} is not in a folder {FOLDER}, whose layout tells which function it is for")


def expected_path(path: Path) -> Path:
    """Return the path of the file with the expected outcome of the event in `path`."""
    return path.with_suffix(_SUFFIX)


def read_fixture(path: Path) -> Fixture:
    """Return the fixture whose event is in the file `path`. Raises BadFixture."""
    path = path.resolve()
    root = fixtures_root(path)
    beside = expected_path(path)
    try:
        event = json.loads(path.read_text())
        expected = json.loads(beside.read_text()) if beside.is_file() else {}
    except (OSError, ValueError) as error:
        raise BadFixture(f"{path}: {error}") from error
    if unknown := expected.keys() - _FIELDS:
        raise BadFixture(f"{beside} has unknown fields {sorted(unknown)}")
    return Fixture(path, root, event, expected)


def fill(value: object, names: Mapping[str, str]) -> Any:
    """Return `value` with each `{{name}}` in its strings replaced by the value in `names`. Raises
    BadFixture.
    """

    def replace(found: re.Match[str]) -> str:
        if found[1] not in names:
            raise BadFixture(f"nothing in the fixture's worlds has the name {found[1]}")
        return names[found[1]]

    match value:
        case str():
            return _NAME.sub(replace, value)
        case dict():
            return {fill(key, names): fill(inner, names) for key, inner in value.items()}
        case list():
            return [fill(inner, names) for inner in value]
        case _:
            return value


def event_paths(root: Path) -> Iterator[Path]:
    """Yield the paths of all event files below `root`, in order."""
    for path in sorted(root.rglob("*.json")):
        if not path.name.endswith(_SUFFIX) and path.relative_to(root).parts[0] != WORLDS:
            yield path
