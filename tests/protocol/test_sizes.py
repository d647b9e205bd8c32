"""JSON of answers that have encoded parts in them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murmuration.protocol.sizes import RawJson, encode, json_bytes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(['{"":NaN}', '{"', '":NaN}']),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just('{"":NaN}'), inner),
)


def with_raw(value: Any, choose: Any) -> Any:
    """Return the same value, some of its parts encoded."""
    if isinstance(value, dict):
        value = {name: with_raw(inner, choose) for name, inner in value.items()}
    elif isinstance(value, list):
        value = [with_raw(inner, choose) for inner in value]
    return RawJson("".join(encode(value))) if choose() else value


@given(JSON, st.randoms())
def test_encoded_parts_stand_where_they_belong(value: Any, random: Any) -> None:
    mixed = with_raw(value, lambda: random.random() < 0.3)
    text = "".join(encode(mixed))
    assert json.loads(text) == value
    assert text == json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def test_encoded_parts_count() -> None:
    assert json_bytes({"a": RawJson('["é"]')}) == len('{"a":["é"]}'.encode())


def test_other_objects_have_no_json() -> None:
    with pytest.raises(TypeError):
        encode({"a": object()})
