"""Filters are stored as they were uploaded, under an ID that is derived from their content."""

from __future__ import annotations

import pytest

from murmuration import filters
from murmuration.protocol.errors import NotFound
from tests.in_process import segment
from tests.logged_in import log_in

DEFINITION = {
    "room": {"timeline": {"limit": 10, "types": ["m.room.message"]}, "rooms": ["!a:example.org"]},
    "event_format": "client",
    "org.example.unknown": [1.5],
}


@pytest.fixture
def alice(fresh_user_id):
    return log_in(fresh_user_id("alice"))


def path(client):
    return f"/_matrix/client/v3/user/{segment(client.user_id)}/filter"


def test_a_filter_comes_back_as_it_was_uploaded(alice):
    filter_id = alice.post(path(alice), DEFINITION).json["filter_id"]
    assert not filter_id.startswith("{")
    assert alice.get(f"{path(alice)}/{filter_id}").json == DEFINITION
    assert filters.read_filter(alice.user_id, filter_id).room.timeline.limit == 10


def test_the_same_filter_has_the_same_id(alice):
    reordered = dict(reversed(DEFINITION.items()))
    ids = [alice.post(path(alice), each).json["filter_id"] for each in (DEFINITION, reordered, {})]
    assert ids[0] == ids[1] != ids[2]


def test_an_empty_filter_is_a_filter(alice):
    filter_id = alice.post(path(alice), {}).json["filter_id"]
    assert alice.get(f"{path(alice)}/{filter_id}").json == {}


@pytest.mark.parametrize("filter_id", ["0", "x" * 22, "x" * 2000, "{}", "#/"])
def test_unknown_filters_are_not_found(alice, filter_id):
    answer = alice.get(f"{path(alice)}/{segment(filter_id)}")
    assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")
    with pytest.raises(NotFound):
        filters.read_filter(alice.user_id, filter_id)


def test_other_users_have_no_access(alice, fresh_user_id):
    bob = log_in(fresh_user_id("bob"))
    filter_id = alice.post(path(alice), DEFINITION).json["filter_id"]
    for answer in (bob.post(path(alice), {}), bob.get(f"{path(alice)}/{filter_id}")):
        assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
    assert bob.get(f"{path(bob)}/{filter_id}").status == 404


@pytest.mark.parametrize(
    ("body", "status", "errcode"),
    [
        (b"{", 400, "M_NOT_JSON"),
        ([], 400, "M_BAD_JSON"),
        ({"room": []}, 400, "M_BAD_JSON"),
        ({"room": {"timeline": {"types": "m.room.message"}}}, 400, "M_BAD_JSON"),
        ({"room": {"rooms": ["a"]}}, 400, "M_INVALID_PARAM"),
        ({"presence": {"senders": ["alice"]}}, 400, "M_INVALID_PARAM"),
        ({"event_format": "xml"}, 400, "M_INVALID_PARAM"),
        ({"padding": "x" * 70_000}, 413, "M_TOO_LARGE"),
    ],
)
def test_what_is_no_filter_is_refused(alice, body, status, errcode):
    answer = alice.post(path(alice), body)
    assert (answer.status, answer.json["errcode"]) == (status, errcode)
