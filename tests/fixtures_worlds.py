"""The worlds of events_fixtures/worlds, made by the domain's functions: `python -m tests.fixtures_worlds`.

The clock, the randomness and the signing key are fixed, so the same code makes the same bytes. Each world is
laid over those that it includes and holds only what it adds or changes.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replay.stage import Stage
from replay.values import to_json
from replay.worlds import Contents, World, read_worlds
from tests.fixtures_scene import START, Scene
from tests.fixtures_stage import WORLDS_FOLDER, fixed_randomness, own_stage

Act = Callable[[Scene], None]


@dataclass(frozen=True)
class Plot:
    """How a world comes to be."""

    name: str
    about: str
    includes: tuple[str, ...]
    act: Act


PLOTS: list[Plot] = []
"""In an order in which each comes after those that it includes."""


def plot(about: str, *includes: str) -> Callable[[Act], Act]:
    """Register a function as the plot of the world with the function's name."""

    def decorate(act: Act) -> Act:
        PLOTS.append(Plot(act.__name__, about, includes, act))
        return act

    return decorate


def make(stage: Stage, chosen: Plot, folder: Path) -> str:
    """Return the text of a world's file. The worlds that it includes are read from `folder`."""
    before = read_worlds(chosen.includes, folder)
    stage.set(before)
    # Each world has milliseconds of its own: like rooms made by one person at one time would be one room.
    scene = Scene((before.clock or START) + zlib.crc32(chosen.name.encode()) % 997, before.names)
    stage.dress()
    with fixed_randomness(chosen.name):
        chosen.act(scene)
    contents = stage.contents()
    added = {
        table: [item for key, item in items.items() if before.contents.get(table, {}).get(key) != item]
        for table, items in contents.items()
    }
    gone = _gone(before.contents, contents)
    objects = {key: value for key, value in stage.objects().items() if before.objects.get(key) != value}
    whole = World(scene.clock, scene.names, contents, {}, {**before.objects, **objects})
    stage.adopt(whole)
    return (
        json.dumps(
            {
                "about": chosen.about,
                "includes": list(chosen.includes),
                "clock": scene.clock,
                "names": {name: value for name, value in scene.names.items() if name not in before.names},
                "objects": {key: [kind, to_json(data)] for key, (kind, data) in sorted(objects.items())},
                "tables": {
                    table: sorted((_ordered(item) for item in items), key=json.dumps)
                    for table, items in sorted(added.items())
                    if items
                },
                **({"gone": gone} if gone else {}),
            },
            indent=1,
            ensure_ascii=False,
        )
        + "\n"
    )


def _ordered(item: Any) -> Any:
    return json.loads(json.dumps(to_json(item), sort_keys=True))


def _gone(before: Contents, after: Contents) -> dict[str, list[Any]]:
    """Return the keys, by table, of the items that the world deletes."""
    found = {table: sorted(items.keys() - after.get(table, {}).keys()) for table, items in before.items()}
    return {table: [to_json(list(key)) for key in keys] for table, keys in sorted(found.items()) if keys}


def make_all(stage: Stage, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of every world's file. Each is written to `folder` before the next one needs it."""
    import tests.fixtures_plots_federation
    import tests.fixtures_plots_kept
    import tests.fixtures_plots_membership  # noqa: F401

    for chosen in PLOTS:
        text = make(stage, chosen, folder)
        (folder / f"{chosen.name}.json").write_text(text)
        yield chosen.name, text


def main() -> None:
    WORLDS_FOLDER.mkdir(parents=True, exist_ok=True)
    with own_stage() as (stage, _):
        written = {f"{name}.json" for name, _ in make_all(stage, WORLDS_FOLDER)}
    for path in WORLDS_FOLDER.glob("*.json"):
        if path.name not in written:
            path.unlink()


if __name__ == "__main__":
    from tests import fixtures_worlds

    fixtures_worlds.main()
