"""Reads as values: batches of several kinds, in one round trip."""

from __future__ import annotations

import pytest

from murmuration.aws import dynamodb
from murmuration.aws.reads import Batch, Read, fetch, fetch_all
from tests.budgets.meter import Meter

pytestmark = pytest.mark.usefixtures("deployment")


def name_read(user_id: str) -> Read[str]:
    return Read("users", {"user_id": user_id, "sk": "x"}, lambda item: item["name"] if item else "nobody")


def room_read(room_id: str) -> Read[int]:
    return Read("rooms", {"room_id": room_id, "sk": "x"}, lambda item: item["size"] if item else 0)


def test_a_batch_brings_several_kinds_in_one_round_trip(fresh_user_id):
    alice, bob = fresh_user_id("alice"), fresh_user_id("bob")
    dynamodb.batch_write(
        [
            dynamodb.put("users", {"user_id": alice, "sk": "x", "name": "Alice"}),
            dynamodb.put("rooms", {"room_id": alice, "sk": "x", "size": 7}),
        ]
    )
    batch = Batch()
    name, nobody, size = batch.add(name_read(alice)), batch.add(name_read(bob)), batch.add(room_read(alice))
    again = batch.add(name_read(alice))
    with Meter() as meter:
        batch.fetch()
    assert (name.value, nobody.value, size.value, again.value) == ("Alice", "nobody", 7, "Alice")
    assert meter.spent.round_trips == 1


def test_one_and_several_of_a_kind(fresh_user_id):
    alice, bob = fresh_user_id("alice"), fresh_user_id("bob")
    dynamodb.execute(dynamodb.put("users", {"user_id": bob, "sk": "x", "name": "Bob"}))
    assert fetch(name_read(bob)) == "Bob"
    assert fetch_all([name_read(alice), name_read(bob)]) == ["nobody", "Bob"]
    assert fetch_all([]) == []


def test_an_answer_before_its_batch_is_fetched_is_refused(fresh_user_id):
    answer = Batch().add(name_read(fresh_user_id()))
    with pytest.raises(RuntimeError):
        answer.value  # noqa: B018
