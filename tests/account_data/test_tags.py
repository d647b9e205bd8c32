"""Concurrent changes of tags are all kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.in_process import segment
from tests.logged_in import log_in

ROOM = "!tagged:example.org"


@pytest.fixture
def alice(fresh_user_id):
    return log_in(fresh_user_id("alice"))


def tags(client):
    return f"/_matrix/client/v3/user/{segment(client.user_id)}/rooms/{segment(ROOM)}/tags"


def test_tags_are_put_changed_and_removed(alice):
    assert alice.get(tags(alice)).json == {"tags": {}}
    assert alice.put(f"{tags(alice)}/m.favourite", {"order": 0.1}).json == {}
    alice.put(f"{tags(alice)}/u.work", {})
    alice.put(f"{tags(alice)}/m.favourite", {"order": 0.7, "org.example.extra": [1]})
    favourite = {"order": 0.7, "org.example.extra": [1]}
    assert alice.get(tags(alice)).json == {"tags": {"m.favourite": favourite, "u.work": {}}}
    assert alice.delete(f"{tags(alice)}/u.work").json == {}
    assert alice.get(tags(alice)).json == {"tags": {"m.favourite": favourite}}


def test_an_order_of_null_is_none(alice):
    assert alice.put(f"{tags(alice)}/u.a", {"order": None, "org.example.extra": None}).status == 200
    assert alice.get(tags(alice)).json == {"tags": {"u.a": {"org.example.extra": None}}}


def test_removing_a_tag_that_is_not_there_succeeds(alice):
    assert alice.delete(f"{tags(alice)}/u.none").status == 200


def test_tags_are_the_rooms_m_tag_account_data(alice):
    alice.put(f"{tags(alice)}/u.a", {"order": 1})
    path = tags(alice).removesuffix("tags") + "account_data/m.tag"
    assert alice.get(path).json == {"tags": {"u.a": {"order": 1}}}
    alice.put(path, {"tags": "nonsense"})
    assert alice.get(tags(alice)).json == {"tags": {}}
    alice.put(f"{tags(alice)}/u.b", {})
    assert alice.get(tags(alice)).json == {"tags": {"u.b": {}}}


def test_the_longest_name_is_255_bytes(alice):
    assert alice.put(f"{tags(alice)}/{segment('ü' * 127)}", {}).status == 200
    answer = alice.put(f"{tags(alice)}/{segment('ü' * 128)}", {})
    assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


@pytest.mark.parametrize(
    ("body", "errcode"),
    [(b"no", "M_NOT_JSON"), ([], "M_BAD_JSON"), ({"order": "1"}, "M_INVALID_PARAM")],
)
def test_bad_data_is_refused(alice, body, errcode):
    answer = alice.put(f"{tags(alice)}/u.a", body)
    assert (answer.status, answer.json["errcode"]) == (400, errcode)


def test_eight_tags_put_at_once_are_all_there(alice):
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda n: alice.put(f"{tags(alice)}/u.{n}", {}).status, range(8)))
    assert statuses == [200] * 8
    assert set(alice.get(tags(alice)).json["tags"]) == {f"u.{n}" for n in range(8)}
