"""The recorder of permissions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from infra_cdk import recording
from infra_cdk.recording import Recorder, differences, load
from infra_shared.grants import Grant
from infra_shared.needs import Need
from murmuration.endpoint import discover
from tests.in_process import Client


def test_what_a_request_uses_is_noted_under_its_module(
    make_client: Callable[..., Client], tmp_path: Path
) -> None:
    recorder = Recorder(tmp_path / "record")
    client = make_client()
    with recorder.installed(discover()):
        answer = client.get(f"/_matrix/client/v3/user/{client.user_id}/account_data/m.direct")
    assert answer.status == 404
    assert Need("tables", "users", "get") in recorder.used["client_server.account_data"]
    assert set(recorder.used) == {"client_server.account_data"}
    assert load(tmp_path / "record") == recorder.used
    assert recorder.unknown == set()


def test_outside_of_functions_nothing_is_noted(deployment: None, tmp_path: Path) -> None:
    from murmuration.aws import dynamodb

    recorder = Recorder(tmp_path / "record")
    with recorder.installed(discover()):
        dynamodb.get("rooms", {"room_id": "!a", "sk": "head"})
    assert recorder.used == {}


def test_records_add_up(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "record"
    get, put = Need("tables", "rooms", "get"), Need("tables", "rooms", "put")
    for module, need in (("a", get), ("a", get), ("a", put), ("b", get)):
        Recorder(path).note(module, need)
    assert load(path) == {"a": {get, put}, "b": {get}}


def test_differences_go_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra_shared.grants.GRANTS", {"a": Grant(tables={"rooms": "get", "users": "scan"})})
    used = {"a": {Need("tables", "rooms", "get"), Need("tables", "rooms", "put")}}
    assert list(differences(used)) == [
        "a: lacks put on tables rooms",
        "a: never used scan on tables users",
    ]
    assert 'tables={"rooms": "get put"}' in recording.render(used)


def test_each_devices_queue_is_written_as_one() -> None:
    used = {"a": {Need("queues", f"wake-{number}", "send") for number in range(3)}}
    assert 'queues={"wake-*": "send"}' in recording.render(used)
