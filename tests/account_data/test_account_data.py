"""Clients store account data, read their own, and are told of changes by /sync."""

from __future__ import annotations

import pytest

from tests.in_process import segment
from tests.logged_in import log_in

ROOM = "!room:example.org"


@pytest.fixture
def alice(fresh_user_id):
    return log_in(fresh_user_id("alice"))


def base(client):
    return f"/_matrix/client/v3/user/{segment(client.user_id)}"


def paths(client, data_type="org.example.config"):
    """Return the paths of the same endpoint for the account and for a room."""
    return [
        f"{base(client)}/account_data/{data_type}",
        f"{base(client)}/rooms/{segment(ROOM)}/account_data/{data_type}",
    ]


@pytest.mark.parametrize(
    "content", [{"a": 1}, {}, {"float": 0.25, "deep": [{"é": None, "b": [True]}], "big": 2**60}]
)
def test_what_is_put_comes_back(alice, content):
    for path in paths(alice):
        assert alice.put(path, content).json == {}
        assert alice.get(path).json == content


def test_account_and_room_data_of_one_type_are_apart(alice):
    account, room = paths(alice)
    alice.put(account, {"of": "account"})
    assert alice.get(room).status == 404
    alice.put(room, {"of": "room"})
    assert alice.get(account).json == {"of": "account"}


def test_a_type_may_have_any_characters(alice):
    path = f"{base(alice)}/account_data/{segment('a/b #ü?')}"
    alice.put(path, {"x": 1})
    assert alice.get(path).json == {"x": 1}


def test_data_that_was_never_set_is_not_found(alice):
    for path in paths(alice, "org.example.unset"):
        answer = alice.get(path)
        assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_other_users_have_no_access(alice, fresh_user_id, method):
    bob = log_in(fresh_user_id("bob"))
    for path in [*paths(alice), f"{base(alice)}/rooms/{segment(ROOM)}/tags/u.a"]:
        if method == "GET":
            path = path.removesuffix("/u.a")
        answer = bob.request(method, path, {})
        assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")


@pytest.mark.parametrize("data_type", ["m.fully_read", "m.push_rules"])
def test_types_the_server_manages_cannot_be_put(alice, data_type):
    for path in paths(alice, data_type):
        answer = alice.put(path, {"event_id": "$e"})
        assert (answer.status, answer.json["errcode"]) == (405, "M_BAD_JSON")


def test_types_the_server_manages_can_be_read(alice):
    account, room = paths(alice, "m.push_rules")
    assert {"override", "content", "room", "sender", "underride"} == set(alice.get(account).json["global"])
    assert alice.get(room).status == 404


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        (b"{", "M_NOT_JSON"),
        (b"", "M_NOT_JSON"),
        (b"\xff", "M_NOT_JSON"),
        (b"[1]", "M_BAD_JSON"),
        (b'"text"', "M_BAD_JSON"),
        (b'{"half": "\\ud800"}', "M_BAD_JSON"),
        (b'{"not a number": NaN}', "M_NOT_JSON"),
        (b"[" * 100_000, "M_NOT_JSON"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(alice, body, errcode):
    for path in paths(alice):
        answer = alice.put(path, body)
        assert (answer.status, answer.json["errcode"]) == (400, errcode)


@pytest.mark.parametrize("room_id", ["@user:example.org", "!", "room", "!room"])
def test_what_is_no_room_id_is_refused(alice, room_id):
    room = f"{base(alice)}/rooms/{segment(room_id)}"
    for answer in (
        alice.get(f"{room}/account_data/a"),
        alice.put(f"{room}/account_data/a", {}),
        alice.get(f"{room}/tags"),
        alice.put(f"{room}/tags/a", {}),
        alice.delete(f"{room}/tags/a"),
    ):
        assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


def test_data_that_no_item_holds_is_too_large(alice):
    answer = alice.put(paths(alice)[0], {"text": "x" * 400_000})
    assert (answer.status, answer.json["errcode"]) == (413, "M_TOO_LARGE")


def test_a_type_that_no_key_holds_is_refused(alice):
    answer = alice.put(f"{base(alice)}/account_data/{'x' * 1100}", {})
    assert (answer.status, answer.json["errcode"]) == (413, "M_TOO_LARGE")


def test_a_sync_brings_what_changed(alice):
    (account, _), sync = paths(alice), "/_matrix/client/v3/sync"
    alice.put(account, {"n": 1})
    first = alice.get(sync).json
    assert {"type": "org.example.config", "content": {"n": 1}} in first["account_data"]["events"]
    assert any(event["type"] == "m.push_rules" for event in first["account_data"]["events"])
    alice.put(account, {"n": 2})
    second = alice.get(sync, since=first["next_batch"]).json
    assert second["account_data"]["events"] == [{"type": "org.example.config", "content": {"n": 2}}]
