"""Users with many keys don't keep others' keys from whoever asks for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration.federation.devices import querying, serving
from murmuration.keys import claim
from murmuration.keys.query import lateness, query_local
from murmuration.protocol.identifiers import DeviceId, ServerName, UserId
from murmuration.storage.keys import identity_keys
from tests.in_process import Client
from tests.keys.crypto import KeyPair, device_keys, one_time_keys
from tests.logged_in import log_in
from tests.rooms.people import V3, ok

Make = Callable[[str], UserId]
ELSEWHERE = ServerName("elsewhere.example.org")


def publish(user_id: UserId, device: str, *, padding: int = 0) -> None:
    """Log a device in and upload its keys, with so many bytes that say nothing."""
    client = log_in(user_id, DeviceId(device))
    keys: dict[str, Any] = device_keys(user_id, client.device_id, KeyPair(client.device_id))
    if padding:
        keys |= {"padding": "é" * (padding // 2)}
    ok(client.post(f"{V3}/keys/upload", {"device_keys": keys}))


@pytest.fixture
def people(fresh_user_id: Make) -> list[UserId]:
    """Three users with six devices of 3 kB each, and two with one device."""
    users = [fresh_user_id(name) for name in ("greedy", "greedier", "greediest", "modest", "plain")]
    for user_id in users[:3]:
        for number in range(6):
            publish(user_id, f"D{number}", padding=3_000)
    for user_id in users[3:]:
        publish(user_id, "ONLY")
    return users


@pytest.fixture
def asking(fresh_user_id: Make) -> Client:
    return log_in(fresh_user_id("asking"), DeviceId("ASKING"))


def ask(client: Client, users: list[UserId]) -> dict[str, Any]:
    found = ok(client.post(f"{V3}/keys/query", {"device_keys": {user_id: [] for user_id in users}}))
    assert found["failures"] == {}
    return dict(found["device_keys"])


def test_keys_that_do_not_fit_are_those_of_users_with_most_and_come_when_asked_again(
    people: list[UserId], asking: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(querying, "MOST_BYTES", 30_000)
    found: dict[str, Any] = {}
    for count in (3, 1, 1):
        some = ask(asking, [user_id for user_id in people if user_id not in found])
        assert len(some) == count
        found |= some
        assert set(people[3:]) <= set(found)
    assert set(found) == set(people)
    assert [len(found[user_id]) for user_id in people] == [6, 6, 6, 1, 1]


def test_keys_over_a_page_are_read_whole(
    people: list[UserId], asking: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity_keys, "FIRST_PAGE", 4)
    assert {user_id: len(devices) for user_id, devices in ask(asking, people).items()} == dict(
        zip(people, (6, 6, 6, 1, 1), strict=True)
    )


def test_other_servers_get_the_keys_of_users_with_few(
    people: list[UserId], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "QUERIED_BYTES", 30_000)
    found = serving.query_user_keys(ELSEWHERE, {"device_keys": {user_id: [] for user_id in people}})
    assert set(people[3:]) <= set(found["device_keys"])
    assert len(found["device_keys"]) == 3


def test_the_keys_of_one_user_come_even_if_they_are_many(people: list[UserId]) -> None:
    found = query_local({people[0]: []}, requester_id=None, most_bytes=1_000)
    assert len(found.device_keys[people[0]]) == 6


def test_what_cannot_be_read_in_time_is_left_out(
    people: list[UserId], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("murmuration.keys.query.READING_S", -1)
    assert lateness(-1)()
    assert query_local({user_id: [] for user_id in people}, requester_id=None).device_keys == {}


def test_one_time_keys_are_claimed_of_everybodys_first_devices(
    fresh_user_id: Make, asking: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "MOST_CLAIMS", 3)
    greedy, modest = fresh_user_id("greedy"), fresh_user_id("modest")
    devices = [(greedy, f"D{number}") for number in range(4)] + [(modest, "ONLY")]
    for user_id, device in devices:
        client = log_in(user_id, DeviceId(device))
        keys = one_time_keys(user_id, KeyPair(device), ["a"])
        ok(client.post(f"{V3}/keys/upload", {"one_time_keys": keys}))
    wanted: dict[UserId, dict[str, str]] = {}
    for user_id, device in devices:
        wanted.setdefault(user_id, {})[device] = "signed_curve25519"
    found = ok(asking.post(f"{V3}/keys/claim", {"one_time_keys": wanted}))["one_time_keys"]
    assert {user_id: set(keys) for user_id, keys in found.items()} == {greedy: {"D0", "D1"}, modest: {"ONLY"}}
