"""Worlds: the items and objects that a replay begins with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from replay.values import from_json

Item = dict[str, Any]
ItemKey = tuple[Any, ...]
Contents = dict[str, dict[ItemKey, Item]]
"""Items by table and key."""


class UnknownWorld(Exception):
    """There is no such world. The message names it."""


@dataclass
class World:
    """The items and objects with which a replay begins, at the time `clock` (in milliseconds).

    `names` are the fixtures' names for its rooms, events and tokens; `objects` are (content type, bytes) by
    key. `gone` are the keys, by table, of items to remove when this world is added to others.
    """

    clock: int = 0
    names: dict[str, str] = field(default_factory=dict)
    contents: Contents = field(default_factory=dict)
    gone: dict[str, set[ItemKey]] = field(default_factory=dict)
    objects: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    def add(self, other: World) -> None:
        """Add `other` to this world: its items replace those with the same key, and the items in its `gone`
        are removed.
        """
        self.clock = max(self.clock, other.clock)
        self.names |= other.names
        self.objects |= other.objects
        for table, items in other.contents.items():
            self.contents.setdefault(table, {}).update(items)
        for table, keys in other.gone.items():
            for key in keys:
                self.contents.get(table, {}).pop(key, None)


def item_key(table: str, item: Mapping[str, Any]) -> ItemKey:
    """Return the values of the item's key attributes."""
    return tuple(item[name] for name in key_names(table))


def key_names(table: str) -> tuple[str, ...]:
    """Return the names of the table's key attributes."""
    return _key_names()[table]


def _key_names() -> dict[str, tuple[str, ...]]:
    global _names
    if _names is None:
        from murmuration.storage.tables import TABLES

        _names = {table.name: tuple(name for name, _ in table.keys) for table in TABLES}
    return _names


_names: dict[str, tuple[str, ...]] | None = None


def read_worlds(names: Sequence[str], folder: Path) -> World:
    """Return the worlds with these names as one, each added to the worlds that it includes. Raises
    UnknownWorld.
    """
    whole = World()
    seen: set[str] = set()

    def add(name: str) -> None:
        if name in seen:
            return
        seen.add(name)
        path = folder / f"{name}.json"
        if not path.is_file():
            raise UnknownWorld(f"There is no world {name!r} in {folder}")
        found = json.loads(path.read_text())
        for included in found["includes"]:
            add(included)
        whole.add(_from_file(found))

    for name in names:
        add(name)
    return whole


def _from_file(found: Mapping[str, Any]) -> World:
    contents: Contents = {}
    for table, items in found["tables"].items():
        plain = [from_json(item) for item in items]
        contents[table] = {item_key(table, item): item for item in plain}
    objects = {key: (kind, from_json(data)) for key, (kind, data) in found["objects"].items()}
    gone = {table: {tuple(from_json(key)) for key in keys} for table, keys in found.get("gone", {}).items()}
    return World(found["clock"], dict(found["names"]), contents, gone, objects)
