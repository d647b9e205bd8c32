"""Capabilities of version 2: hashes, and the sets behind them, of the server and of clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration.protocol.identifiers import DeviceId, UserId
from tests.in_process import Client, segment
from tests.logged_in import log_in
from tests.rooms.people import create_room, join, ok, refused

V2, V3 = "/_matrix/client/v2", "/_matrix/client/v3"
MakeClient = Callable[..., Client]
VOIP = {"m.cap.voip.v1": {"codecs": ["opus"]}}


@pytest.fixture
def bob(alice: Client, make_client: MakeClient) -> Client:
    """Somebody who shares a room with Alice."""
    bob = make_client("bob")
    join(bob, create_room(alice, preset="public_chat"))
    return bob


def upload(client: Client, capabilities: Any) -> str:
    return str(ok(client.post(f"{V2}/clientCapabilities", {"capabilities": capabilities}))["sha256"])


def announce(client: Client, sha256: Any) -> Any:
    return client.put(f"{V2}/clientCapabilities", {"sha256": sha256})


def hashes(client: Client, other: Client) -> list[str]:
    return list(ok(client.get(f"{V2}/users/{segment(other.user_id)}/capabilities"))["sha256"])


def test_the_servers_set_is_behind_its_hash(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from murmuration.settings import settings

    sha256 = ok(alice.get(f"{V2}/capabilities"))["sha256"]
    found = ok(alice.get(f"{V2}/capabilities/{sha256}"))
    assert found["m.cap.content_repository.v1"] == {}
    assert "m.cap.turnserver.v1" not in found
    assert found["m.room_versions"]["default"] == "12"
    refused(alice.get(f"{V2}/capabilities/other"), 404, "M_NOT_FOUND")
    monkeypatch.setenv("MURMURATION_TURN_URIS", "turn:turn.example.org")
    settings.cache_clear()
    try:
        other = ok(alice.get(f"{V2}/capabilities"))["sha256"]
        assert "m.cap.turnserver.v1" in ok(alice.get(f"{V2}/capabilities/{other}"))
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert other != sha256


def test_a_hash_is_refused_until_its_set_is_uploaded(alice: Client) -> None:
    other = log_in(UserId(alice.user_id), DeviceId("OTHER"))
    sha256 = upload(other, {"x": {}})
    refused(announce(alice, "unknown"), 404, "M_NOT_FOUND")
    ok(announce(alice, sha256))
    assert hashes(alice, alice) == [sha256]


def test_others_see_the_hashes_and_ask_for_the_sets(alice: Client, bob: Client) -> None:
    first = upload(alice, VOIP)
    second = upload(log_in(UserId(alice.user_id), DeviceId("OTHER")), {"x": {}})
    assert hashes(bob, alice) == sorted([first, second])
    where = f"{V2}/users/{segment(alice.user_id)}/capabilities"
    assert ok(bob.get(f"{where}/{first}")) == VOIP
    refused(bob.get(f"{where}/unknown"), 404, "M_NOT_FOUND")
    assert upload(bob, VOIP) == first
    changed = upload(alice, {})
    assert hashes(bob, alice) == sorted([changed, second])
    refused(bob.get(f"{where}/{first}"), 404, "M_NOT_FOUND")


def test_strangers_see_nothing(alice: Client, make_client: MakeClient) -> None:
    sha256, carol = upload(alice, VOIP), make_client("carol")
    where = f"{V2}/users/{segment(alice.user_id)}/capabilities"
    refused(carol.get(where), 403, "M_FORBIDDEN")
    refused(carol.get(f"{where}/{sha256}"), 403, "M_FORBIDDEN")


def test_the_hashes_are_part_of_presence(alice: Client, bob: Client) -> None:
    sha256 = upload(alice, VOIP)
    shown = ok(bob.get(f"{V3}/presence/{segment(alice.user_id)}/status"))
    assert shown["capabilities"] == [sha256]


def test_a_device_takes_its_set_with_it(alice: Client, bob: Client) -> None:
    other = log_in(UserId(alice.user_id), DeviceId("OTHER"))
    kept, gone = upload(alice, VOIP), upload(other, {"x": {}})
    ok(other.post(f"{V3}/logout"))
    assert hashes(bob, alice) == [kept]
    assert gone != kept
    shown = ok(bob.get(f"{V3}/presence/{segment(alice.user_id)}/status"))
    assert shown["capabilities"] == [kept]


@pytest.mark.parametrize(
    ("body", "status", "errcode"),
    [
        ({}, 400, "M_MISSING_PARAM"),
        ({"capabilities": []}, 400, "M_BAD_JSON"),
        ({"capabilities": {"x": 5}}, 400, "M_BAD_JSON"),
        ({"capabilities": {"x": {"y": 0.5}}}, 400, "M_BAD_JSON"),
        ({"capabilities": {"x": {"y": "z" * 20_000}}}, 413, "M_TOO_LARGE"),
    ],
)
def test_what_is_no_set(alice: Client, body: Any, status: int, errcode: str) -> None:
    refused(alice.post(f"{V2}/clientCapabilities", body), status, errcode)
    refused(announce(alice, 5), 400, "M_BAD_JSON")
    refused(alice.put(f"{V2}/clientCapabilities", {}), 400, "M_MISSING_PARAM")
