from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.encoding.canonical_json import MAX_INTEGER
from murmuration.protocol.errors import BadJson, NotJson

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=20)

# https://spec.matrix.org/v1.19/appendices/#examples
SPECIFICATION_EXAMPLES = [
    ("{}", "{}"),
    ('{"one": 1, "two": "Two"}', '{"one":1,"two":"Two"}'),
    ('{"b": "2", "a": "1"}', '{"a":"1","b":"2"}'),
    ('{"b":"2","a":"1"}', '{"a":"1","b":"2"}'),
    (
        """{"auth": {"success": true, "mxid": "@john.doe:example.com", "profile": {
            "display_name": "John Doe", "three_pids": [
                {"medium": "email", "address": "john.doe@example.org"},
                {"medium": "msisdn", "address": "123456789"}]}}}""",
        '{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":'
        '[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},'
        '"success":true}}',
    ),
    ('{"a": "日本語"}', '{"a":"日本語"}'),
    ('{"本": 2, "日": 1}', '{"日":1,"本":2}'),
    ('{"a": "\\u65E5"}', '{"a":"日"}'),
    ('{"a": null}', '{"a":null}'),
    ('{"a": -0, "b": 1e10}', '{"a":0,"b":10000000000}'),
]


@pytest.mark.parametrize(("given_json", "canonical"), SPECIFICATION_EXAMPLES)
def test_the_specification_s_examples(given_json: str, canonical: str) -> None:
    value = canonical_json.loads(given_json.encode(), whole_floats_as_integers=True)
    assert canonical_json.encode(value) == canonical.encode()


@given(VALUES)
def test_what_is_encoded_reads_back_the_same(value: Any) -> None:
    encoded = canonical_json.encode(value)
    assert canonical_json.loads(encoded) == value
    assert canonical_json.encode(canonical_json.loads(encoded)) == encoded


@given(st.dictionaries(TEXT, SCALARS))
def test_keys_are_in_order_of_code_points(value: dict[str, Any]) -> None:
    keys: list[str] = []
    json.loads(canonical_json.encode(value), object_pairs_hook=lambda pairs: keys.extend(k for k, _ in pairs))
    assert [[ord(c) for c in key] for key in keys] == sorted([ord(c) for c in key] for key in value)


def test_code_points_order_differs_from_utf_16() -> None:
    assert canonical_json.encode({"\U0001f600": 1, "\uffee": 2}) == '{"\uffee":2,"\U0001f600":1}'.encode()


def test_control_characters_are_escaped_as_the_grammar_has_it() -> None:
    text = "".join(map(chr, range(0x20))) + '"\\/\x7f'
    assert canonical_json.encode(text) == (
        rb'"\u0000\u0001\u0002\u0003\u0004\u0005\u0006\u0007\b\t\n\u000b\f\r\u000e\u000f'
        rb"\u0010\u0011\u0012\u0013\u0014\u0015\u0016\u0017\u0018\u0019\u001a\u001b\u001c\u001d\u001e\u001f"
        b'\\"\\\\/\x7f"'
    )


def wrap(value: Any) -> list[Any]:
    return [value, {"a": value}, [value], {"a": {"b": [1, "1.5", {"c": value}]}}, (value,)]


@pytest.mark.parametrize("number", [1.5, 1.0, -0.0, 1e300, MAX_INTEGER + 1, -MAX_INTEGER - 1, 10**400])
def test_numbers_outside_the_grammar_are_refused_where_strict(number: float) -> None:
    for value in wrap(number):
        with pytest.raises(BadJson):
            canonical_json.encode(value)
        with pytest.raises(BadJson):
            canonical_json.check_numbers(value)
        assert canonical_json.loads(canonical_json.encode(value, strict=False)) is not None


NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(2**53 - 9, 2**53 + 9)
LOOKS_LIKE_NUMBERS = st.from_regex(r"[\[:,]?-?[0-9]{1,20}[.e]?[0-9]*", fullmatch=True)
WITH_NUMBERS = st.recursive(
    NUMBERS | LOOKS_LIKE_NUMBERS,
    lambda inner: st.lists(inner) | st.dictionaries(LOOKS_LIKE_NUMBERS, inner),
    max_leaves=6,
)


@given(WITH_NUMBERS)
def test_what_strict_refuses_is_what_a_walk_over_the_value_finds(value: Any) -> None:
    try:
        canonical_json.check_numbers(value)
    except BadJson:
        with pytest.raises(BadJson):
            canonical_json.encode(value)
    else:
        assert canonical_json.encode(value) == canonical_json.encode(value, strict=False)


@pytest.mark.parametrize("number", [0, MAX_INTEGER, -MAX_INTEGER, True])
def test_numbers_at_the_limits_are_taken(number: int) -> None:
    for value in wrap(number):
        assert canonical_json.encode(value) == canonical_json.encode(value, strict=False)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        -float("inf"),
        "\ud800",
        {"\udfff": 1},
        {"a": ["\ud83d"]},
        {1, 2},
        b"bytes",
        {"a": 1, 2: 3},
        object(),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_what_is_not_json_is_refused(value: Any, strict: bool) -> None:
    with pytest.raises(BadJson):
        canonical_json.encode(value, strict=strict)


def test_values_nested_too_deep_are_refused_not_fatal() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(BadJson):
        canonical_json.encode(deep)
    with pytest.raises(NotJson):
        canonical_json.loads("[" * 100_000 + "]" * 100_000)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"NaN",
        b'{"a":Infinity}',
        b"-Infinity",
        b"1e999",
        b'{"a":[-1e999]}',
        b"\xff",
        b'"\xed\xa0\x80"',
        b"\xef\xbb\xbf{}",
        b"1" * 5000,
    ],
)
def test_what_is_not_json_is_not_read(text: bytes) -> None:
    with pytest.raises(NotJson):
        canonical_json.loads(text)


def test_a_lone_surrogate_can_be_read_but_not_written() -> None:
    assert canonical_json.loads(rb'"\ud800"') == "\ud800"
    assert canonical_json.encode(canonical_json.loads(rb'"\ud83d\ude00"')) == '"\U0001f600"'.encode()


def test_the_last_of_duplicate_keys_wins() -> None:
    assert canonical_json.loads('{"a":1,"a":2}') == {"a": 2}


@given(st.text())
def test_reading_any_text_does_not_crash(text: str) -> None:
    try:
        canonical_json.loads(text)
    except NotJson:
        with pytest.raises((ValueError, RecursionError)):
            json.loads(text, parse_constant=lambda _: json.loads(""))
