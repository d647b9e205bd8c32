"""`murmuration export` writes a server's data into a folder that other servers can read."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from local_cloud.testing import LocalCloud, local_cloud
from murmuration.protocol.events import Event
from murmuration.protocol.room_versions import get_room_version
from murmuration.storage.tables import TABLES
from operators.cli import main

pytestmark = pytest.mark.usefixtures("no_deployment")
PICTURE = b"\x89PNG\r\n\x1a\n and what follows"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with local_cloud(tmp_path_factory.mktemp("data"), server_name="example.org") as running:
        yield running


def ask(cloud: LocalCloud, method: str, path: str, body: Any, token: str = "") -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{cloud.url}/_matrix/{path}", data, method=method)
    request.add_header("Content-Type", "image/png" if isinstance(body, bytes) else "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request) as response:
        return json.load(response)


@pytest.fixture(scope="module")
def told(cloud: LocalCloud) -> dict[str, Any]:
    """What a user did on the server."""
    body = {"username": "alice", "password": "wonderland", "auth": {"type": "m.login.dummy"}}
    token = ask(cloud, "POST", "client/v3/register", body)["access_token"]
    uri = ask(cloud, "POST", "media/v3/upload?filename=hat.png", PICTURE, token)["content_uri"]
    user = quote("@alice:example.org")
    ask(cloud, "PUT", f"client/v3/profile/{user}/displayname", {"displayname": "Alice"}, token)
    ask(cloud, "PUT", f"client/v3/user/{user}/account_data/org.example", {"tea": 4}, token)
    room = ask(cloud, "POST", "client/v3/createRoom", {"name": "Tea"}, token)["room_id"]
    sent = [
        ask(
            cloud,
            "PUT",
            f"client/v3/rooms/{quote(room)}/send/m.room.message/{number}",
            {"msgtype": "m.text", "body": f"cup {number} 🫖"},
            token,
        )["event_id"]
        for number in range(3)
    ]
    return {"room": room, "sent": sent, "media_id": uri.rpartition("/")[2]}


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def export(cloud: LocalCloud, folder: Path, *options: str) -> int:
    return main(["export", str(folder), "--data", str(cloud.data), *options])


def test_accounts_rooms_and_media_are_written(
    cloud: LocalCloud, told: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from operators import exporting

    monkeypatch.setattr(exporting, "EVENTS_AT_ONCE", 2)  # so that there are several pages
    folder = tmp_path / "all"
    assert export(cloud, folder) == 0
    summary = json.loads((folder / "export.json").read_text())
    assert summary["complete"] is True
    assert (summary["server_name"], summary["accounts"], summary["media"]) == ("example.org", 1, 1)

    (account,) = lines(folder / "users.jsonl")
    assert (account["user_id"], account["profile"]) == ("@alice:example.org", {"displayname": "Alice"})
    assert account["rooms"] == {told["room"]: "join"}
    assert {"room_id": "", "type": "org.example", "content": {"tea": 4}} in account["account_data"]

    (room,) = lines(folder / "rooms.jsonl")
    assert room["room_id"] == told["room"]
    events, state = (lines(folder / name) for name in room["files"])
    assert len(events) == room["events"]
    assert [event["event_id"] for event in events][-3:] == told["sent"]
    assert events[-1]["pdu"]["content"]["body"] == "cup 2 🫖"
    version = get_room_version(room["room_version"])
    for event in (*events, *state):
        assert Event(event["pdu"], version).event_id == event["event_id"], "each is whole, and signed"
        assert event["pdu"]["signatures"]["example.org"]
    assert {event["pdu"]["type"] for event in state} >= {"m.room.create", "m.room.member", "m.room.name"}

    (media,) = lines(folder / "media.jsonl")
    assert (media["media_id"], media["file_name"], media["size"]) == (
        told["media_id"],
        "hat.png",
        len(PICTURE),
    )
    assert (folder / media["file"]).read_bytes() == PICTURE


def test_who_leaves_has_keys_and_everything_else(
    cloud: LocalCloud, told: dict[str, Any], tmp_path: Path
) -> None:
    assert main(["keys", "rotate", "--data", str(cloud.data)]) == 0
    folder = tmp_path / "all"
    assert export(cloud, folder, "--without-media") == 0
    ((algorithm, _, _),) = (line.split() for line in (folder / "signing-key").read_text().splitlines())
    assert algorithm == "ed25519"
    assert len((folder / "former-signing-keys").read_text().split()) == 4
    assert not (folder / "media.jsonl").exists()
    written = {path.stem: lines(path) for path in (folder / "tables").iterdir()}
    assert set(written) == {table.name for table in TABLES if table.is_backed_up}
    assert any(
        item["Item"]["sk"] == {"S": "account"} and "password_hash" in item["Item"]
        for item in written["users"]
    )
    assert len(written["room-log"]) == lines(folder / "rooms.jsonl")[0]["events"]
    private = [folder, folder / "signing-key", folder / "users.jsonl", folder / "tables" / "users.jsonl"]
    assert not any(path.stat().st_mode & 0o077 for path in private), "it's as private as the server"


def test_an_export_goes_on_and_spares_what_is_there(
    cloud: LocalCloud, told: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from murmuration.aws import objects

    folder = tmp_path / "all"
    assert export(cloud, folder) == 0
    fetched: list[str] = []
    get = objects.get

    def counted(key: str) -> Any:
        fetched.append(key)
        return get(key)

    monkeypatch.setattr(objects, "get", counted)
    assert export(cloud, folder) == 0
    assert fetched == [], "what is there isn't fetched twice"
    path = folder / "media" / told["media_id"]
    path.write_bytes(b"half")
    assert export(cloud, folder) == 0
    assert (len(fetched), path.read_bytes()) == (1, PICTURE)
    monkeypatch.setattr(objects, "get", lambda key: None)
    path.write_bytes(b"half")
    assert export(cloud, folder) == 0
    assert not path.exists()
    assert lines(folder / "media.jsonl")[0]["file"] is None, "a lost file is told"


def test_a_folder_of_something_else_is_left_alone(
    cloud: LocalCloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letters").write_text("dear")
    assert export(cloud, tmp_path) == 2
    assert export(cloud, tmp_path / "letters") == 2
    assert capsys.readouterr().err.count("new or empty") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["letters"]
