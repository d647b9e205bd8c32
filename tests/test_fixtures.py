"""Each recorded event is replayed, and its result must match its `*.expected.json`."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from replay.backdrop import Outcome
from replay.deployment import SIGNING_KEY, fixture_stage
from replay.fixtures import Fixture, event_paths, expected_path, read_fixture
from replay.judging import judge
from replay.stage import Stage
from replay.worlds import World, read_worlds
from tests import openapi
from tests.fixtures_cases import all_cases
from tests.fixtures_events import make_event
from tests.fixtures_stage import ROOT, WORLDS_FOLDER
from tests.fixtures_worlds import PLOTS, make_all

RECORD = "python -m tests.fixtures_record"


@cache
def fixtures() -> list[Fixture]:
    """Return all fixtures, those of one world together."""
    return sorted((read_fixture(path) for path in event_paths(ROOT)), key=lambda found: found.worlds)


@cache
def world(names: tuple[str, ...]) -> World:
    return read_worlds(names, WORLDS_FOLDER)


@pytest.fixture(scope="module")
def stage(dynamodb_url: str, deployment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    from murmuration import server_keys

    with (
        pytest.MonkeyPatch.context() as patch,
        fixture_stage(dynamodb_url, tmp_path_factory.mktemp("objects")) as found,
    ):
        patch.setattr(server_keys, "_read", lambda: SIGNING_KEY)
        yield found


@pytest.mark.parametrize("fixture", fixtures(), ids=lambda fixture: fixture.name)
def test_fixture(fixture: Fixture, stage: Stage) -> None:
    start = world(fixture.worlds)
    stage.set(start)
    outcome = stage.play(
        fixture.handler(),
        fixture.event,
        clock=fixture.expected["clock"],
        settings=fixture.expected.get("settings"),
    )
    assert not judge(fixture, start, outcome)
    if "httpMethod" in fixture.event:
        openapi.check(exchange(fixture.event, outcome))


def exchange(event: Any, outcome: Outcome) -> openapi.Exchange:
    """Return a replayed request and its answer, to be held to the specification."""
    return openapi.Exchange(
        event["httpMethod"],
        f"{event['path']}?{urlencode(event.get('multiValueQueryStringParameters') or {}, doseq=True)}",
        base64.b64decode(event["body"] or ""),
        outcome.status or 0,
        outcome.headers,
        outcome.body if isinstance(outcome.body, bytes) else json.dumps(outcome.body).encode(),
    )


def test_the_world_is_as_before_after_each_replay(stage: Stage) -> None:
    fixture = read_fixture(ROOT / "client_server/room_send/send_message/good.json")
    start = world(fixture.worlds)
    stage.set(start)
    before = stage.contents()
    clock = fixture.expected["clock"]
    assert stage.play(fixture.handler(), fixture.event, clock=clock).items
    assert stage.contents() == before == start.contents


def test_every_case_is_recorded() -> None:
    """The events are those that the gateway makes from the cases, byte for byte."""
    wanted = {case.name: case for case in all_cases()}
    assert {fixture.name for fixture in fixtures()} == wanted.keys(), f"run {RECORD}"
    for fixture in fixtures():
        case = wanted[fixture.name]
        assert fixture.expected.get("about") == case.about, f"{fixture.name}: run {RECORD} --rewrite"
        made = json.loads(json.dumps(make_event(case, world(case.worlds))))
        assert made == fixture.event, f"{fixture.name}: run {RECORD}"


def test_every_event_has_its_expectation() -> None:
    beside = {expected_path(path) for path in event_paths(ROOT)}
    assert beside == set(ROOT.rglob("*.expected.json"))


def test_worlds_are_made_by_the_domain(stage: Stage, tmp_path: Path) -> None:
    """Made again, each world has the same bytes. Otherwise its fixtures would start from an
    impossible state.
    """
    made = dict(make_all(stage, tmp_path))
    assert made.keys() == {path.stem for path in WORLDS_FOLDER.glob("*.json")} == {p.name for p in PLOTS}
    changed = [name for name, text in made.items() if (WORLDS_FOLDER / f"{name}.json").read_text() != text]
    assert not changed, f"run python -m tests.fixtures_worlds, then {RECORD}"
