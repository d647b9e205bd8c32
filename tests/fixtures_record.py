"""Record fixtures from their cases: `python -m tests.fixtures_record [--rewrite] [NAME...]`.

Events are always made again. An expectation is kept if it still holds, and shown if not. With `--rewrite` it
is recorded again. Read the recorded files: a wrong answer is recorded just like a right one. NAME is a part
of a fixture's name, to record only those.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from replay.backdrop import Outcome
from replay.fixtures import Fixture, event_paths, expected_path, read_fixture
from replay.judging import judge
from replay.stage import Stage
from replay.worlds import World, read_worlds
from tests.fixtures_cases import Case, all_cases
from tests.fixtures_events import clock_of, make_event
from tests.fixtures_expect import check_expectation, expectation
from tests.fixtures_stage import ROOT, WORLDS_FOLDER, own_stage

_worlds: dict[tuple[str, ...], World] = {}


def world_of(names: Sequence[str]) -> World:
    """Return the worlds with these names. Each is read once."""
    key = tuple(names)
    if key not in _worlds:
        _worlds[key] = read_worlds(key, WORLDS_FOLDER)
    return _worlds[key]


def play(stage: Stage, case: Case, fixture: Fixture, world: World) -> Outcome:
    stage.set(world)
    clock = clock_of(case, world)
    return stage.play(fixture.handler(), fixture.event, clock=clock, settings=case.settings)


def record(stage: Stage, case: Case, *, rewrite: bool) -> list[str]:
    """Write the case's files, and return a line for each difference from the case."""
    world, clock = world_of(case.worlds), clock_of(case, world_of(case.worlds))
    path = ROOT / f"{case.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(make_event(case, world), indent=2, ensure_ascii=False) + "\n")
    fixture = read_fixture(path)
    first = play(stage, case, fixture, world)
    if problems := check_expectation(case, first):
        return problems
    stated = {"about": case.about, "worlds": list(case.worlds), "clock": clock}
    stated |= {"settings": dict(case.settings)} if case.settings else {}
    as_stated = all(fixture.expected.get(name) == value for name, value in stated.items())
    if fixture.expected and as_stated and not (found := judge(fixture, world, first)):
        return []
    if fixture.expected and not rewrite:
        return [f"{case.name}: {line}" for line in found] if as_stated else [f"{case.name}: the case changed"]
    text = expectation(case, world, clock, first, play(stage, case, fixture, world))
    expected_path(path).write_text(text)
    return [f"{case.name}: {line}" for line in judge(read_fixture(path), world, first)]


def remove_others(cases: Sequence[Case]) -> None:
    """Delete the files of cases that don't exist any more."""
    wanted = {f"{case.name}.json" for case in cases}
    for path in list(event_paths(ROOT)):
        if path.relative_to(ROOT).as_posix() not in wanted:
            path.unlink()
            expected_path(path).unlink(missing_ok=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="parts of the names of those to record (all)")
    parser.add_argument(
        "--rewrite", action="store_true", help="write anew what is expected, where it differs"
    )
    args = parser.parse_args()
    cases = list(all_cases())
    problems = []
    with own_stage() as (stage, _):
        for case in cases:
            if not args.names or any(name in case.name for name in args.names):
                problems += record(stage, case, rewrite=args.rewrite)
    remove_others(cases)
    for line in problems:
        print(line, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
