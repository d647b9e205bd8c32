"""Replay a recorded event: pass it to its function, and show the result.

FILE is an event in events_fixtures/; the function is the one after which its folder is named. The function
runs on the worlds that the file beside it (*.expected.json) names, or those given with --world, in a
temporary database. With --data it runs on that data folder, whether or not a server is running on it, and its
writes stay there. If the expected result is known, the exit status is 1 if the result differs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from replay.backdrop import Backdrop, Outcome
    from replay.fixtures import Fixture
    from replay.stage import Stage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="FILE", type=Path, help="the event, a JSON file below events_fixtures/"
    )
    parser.add_argument(
        "--world", action="append", metavar="NAME", help="start from this world of events_fixtures/worlds"
    )
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="start from what is in this data folder")
    parser.add_argument(
        "--server-name",
        default="localhost:8008",
        help="the name of the server whose data is in --data (localhost:8008)",
    )
    parser.add_argument("--clock", type=int, metavar="MS", help="the time of the event, since the Unix epoch")


def run(args: argparse.Namespace) -> int:
    from local_cloud.data_folder import DataFolderInUse
    from local_cloud.database.dynoxide import DynoxideError
    from replay.fixtures import BadFixture, read_fixture
    from replay.worlds import UnknownWorld

    repository = str(Path(__file__).resolve().parents[2])
    if repository not in sys.path:
        sys.path.append(repository)  # the folder that has `functions`
    if args.data is not None and args.world:
        print("Give either --data or --world, not both.", file=sys.stderr)
        return 2
    try:
        return _run(args, read_fixture(args.file))
    except (BadFixture, UnknownWorld, DataFolderInUse, DynoxideError) as error:
        print(error, file=sys.stderr)
        return 2


def _run(args: argparse.Namespace, fixture: Fixture) -> int:
    from replay.judging import judge
    from replay.worlds import read_worlds

    if args.data is not None:
        with _over_data(args.data.resolve(), args.server_name) as backdrop:
            _show(backdrop.call(fixture.handler(), fixture.event, clock=args.clock))
        return 0
    names = args.world or fixture.worlds
    world = read_worlds(names, fixture.worlds_folder)
    clock = args.clock or fixture.expected.get("clock") or world.clock or None
    with _thrown_away() as stage:
        stage.set(world)
        settings = fixture.expected.get("settings")
        outcome = stage.play(fixture.handler(), fixture.event, clock=clock, settings=settings)
    _show(outcome)
    if not fixture.expected or args.world or args.clock:
        return 0
    problems = judge(fixture, world, outcome)
    for line in problems:
        print(line, file=sys.stderr)
    return 1 if problems else 0


@contextlib.contextmanager
def _thrown_away() -> Iterator[Stage]:
    """Yield a stage with a temporary database."""
    from local_cloud.data_folder import DataFolder
    from local_cloud.database.dynoxide import Dynoxide
    from replay.deployment import fixture_stage

    with tempfile.TemporaryDirectory(prefix="murmuration-") as path, contextlib.ExitStack() as cleanup:
        folder = DataFolder(Path(path))
        folder.open()
        cleanup.callback(folder.close)
        dynoxide = Dynoxide(folder)
        cleanup.callback(dynoxide.stop)
        dynoxide.start()
        yield cleanup.enter_context(fixture_stage(dynoxide.url, folder.objects))


@contextlib.contextmanager
def _over_data(path: Path, server_name: str) -> Iterator[Backdrop]:
    """Yield a backdrop for a data folder, with the database of the server that is running on it, or a new
    process.
    """
    from local_cloud.data_folder import DataFolder, DataFolderInUse
    from local_cloud.database.dynoxide import Dynoxide
    from replay.backdrop import Backdrop

    with contextlib.ExitStack() as cleanup:
        folder = DataFolder(path)
        try:
            folder.open(patience=0.5)
        except DataFolderInUse:
            url = folder.database_url.read_text()
        else:
            cleanup.callback(folder.close)
            dynoxide = Dynoxide(folder)
            cleanup.callback(dynoxide.stop)
            dynoxide.start()
            url = dynoxide.url
        yield cleanup.enter_context(
            Backdrop(
                url,
                folder.objects,
                store=folder.store,
                variables={
                    "MURMURATION_SERVER_NAME": server_name,
                    "MURMURATION_PUBLIC_URL": f"http://{server_name}",
                },
            )
        )


def _show(outcome: Outcome) -> None:
    """Print the answer as the client gets it, then what was written and sent."""
    if outcome.status is None:
        _print(outcome.answer)
    else:
        print(outcome.status)
        for name, value in outcome.headers.items():
            print(f"{name}: {value}")
        print()
        if isinstance(outcome.body, bytes):
            print(f"({len(outcome.body)} bytes)")
        else:
            _print(outcome.body)
    for what in ("items", "deleted", "objects", "messages", "posts"):
        if found := getattr(outcome, what):
            print(f"\n{what}:")
            _print(found)


def _print(value: object) -> None:
    from replay.values import to_json

    print(json.dumps(to_json(value), indent=2, ensure_ascii=False))
