"""Sequenced streams are dense, and no change is missed whatever runs beside it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.storage.live import streams

pytestmark = pytest.mark.usefixtures("deployment")


def test_a_stream_that_never_moved_stands_at_zero_and_is_empty():
    assert streams.read_head("room:!silent") == 0
    assert streams.read_after("room:!silent", 0) == []


def test_an_item_that_changes_again_moves_to_the_end_in_its_newest_form():
    for key, value in (("a", 1), ("b", 2), ("a", 3)):
        streams.append("room:!moves", lambda: [{"sk": key, "value": value}])  # noqa: B023
    assert [(item["sk"], item["value"], item["seq"]) for item in streams.read_after("room:!moves", 0)] == [
        ("b", 2, 2),
        ("a", 3, 3),
    ]
    assert [item["sk"] for item in streams.read_after("room:!moves", 2)] == ["a"]


def test_sixteen_writers_at_once_leave_no_gap():
    with ThreadPoolExecutor(16) as pool:
        list(
            pool.map(
                lambda n: streams.append("room:!busy", lambda: [{"sk": f"k{n}"}, {"sk": f"l{n}"}]), range(16)
            )
        )
    items = streams.read_after("room:!busy", 0)
    assert [item["seq"] for item in items] == list(range(1, 33))
    assert streams.read_head("room:!busy") == 32


def test_a_refused_companion_write_refuses_the_append():
    taken = dynamodb.put("transient", {"id": "taken"}, condition="attribute_not_exists(id)")
    dynamodb.execute(taken)
    with pytest.raises(ConditionFailed) as refusal:
        streams.append("room:!refused", lambda: [{"sk": "a"}], more=[taken])
    assert refusal.value.names == {"more"}
    assert streams.read_after("room:!refused", 0) == []
