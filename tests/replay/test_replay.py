"""`murmuration replay` as a command."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

from local_cloud.testing import local_cloud
from tests.fixtures_stage import ROOT

LOGIN = ROOT / "client_server/login/login/good.json"


def replay(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "operators.cli", "replay", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def test_the_command_shows_an_events_result_and_that_it_is_expected() -> None:
    done = replay(LOGIN)
    assert (done.returncode, done.stderr) == (0, "")
    status, _, rest = done.stdout.partition("\n")
    assert status == "200"
    assert '"user_id": "@alice:example.org"' in rest
    assert "\nitems:\n" in rest


def test_the_command_shows_differences_from_the_expectation(tmp_path: Path) -> None:
    folder = tmp_path / "events_fixtures/client_server/login/login"
    folder.mkdir(parents=True)
    (tmp_path / "events_fixtures/worlds").symlink_to(ROOT / "worlds")
    event = folder / "good.json"
    event.write_text(LOGIN.read_text())
    expected = json.loads(LOGIN.with_suffix(".expected.json").read_text())
    expected["body"]["user_id"] = "@bob:example.org"
    event.with_suffix(".expected.json").write_text(json.dumps(expected))
    done = replay(event)
    assert done.returncode == 1
    assert done.stderr == "body.user_id: expected '@bob:example.org', got '@alice:example.org'\n"


def test_another_world() -> None:
    done = replay(LOGIN, "--world", "carol")
    assert done.returncode == 0
    assert done.stdout.startswith("403\n")


def test_what_can_not_be_replayed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "good.json"
    elsewhere.write_text("{}")
    for arguments in ((elsewhere,), (LOGIN, "--world", "nowhere"), (LOGIN.with_name("none.json"),)):
        done = replay(*arguments)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1


def test_a_data_folder_while_a_server_runs_on_it_and_after(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with local_cloud(data, environment={"MURMURATION_PASSWORD_COST": "4"}) as cloud:
        body = {"username": "alice", "password": "wonderland", "auth": {"type": "m.login.dummy"}}
        request = urllib.request.Request(
            f"{cloud.url}/_matrix/client/v3/register", json.dumps(body).encode(), method="POST"
        )
        urllib.request.urlopen(request).close()
        options = ("--data", data, "--server-name", cloud.server_name)
        during = replay(LOGIN, *options)
    after = replay(LOGIN, *options)
    for done in (during, after):
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("200\n")
        assert f'"user_id": "@alice:{cloud.server_name}"' in done.stdout
