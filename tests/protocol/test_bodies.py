"""Parsing the JSON bodies that clients send."""

from __future__ import annotations

import pytest

from murmuration.protocol.bodies import MAX_DEPTH, Fields, parse_json
from murmuration.protocol.encoding.canonical_json import MAX_INTEGER
from murmuration.protocol.errors import BadJson, MissingParam, NotJson


def nested(depth: int, *, array: bool = False) -> str:
    return "[" * depth + "]" * depth if array else '{"a":' * depth + "1" + "}" * depth


@pytest.mark.parametrize("array", [False, True])
def test_nesting_has_a_limit(array: bool) -> None:
    parse_json(nested(MAX_DEPTH, array=array))
    for depth in (MAX_DEPTH + 1, 900):
        with pytest.raises(BadJson):
            parse_json(nested(depth, array=array))
    with pytest.raises(NotJson):
        parse_json(nested(100_000, array=array))


def test_what_is_long_need_not_be_deep() -> None:
    text = "[" + ",".join(['{"a":[]}'] * 1000) + "]"
    assert len(parse_json(text)) == 1000


@pytest.mark.parametrize("data", [b"\xff", b"", b"{", b'{"a":NaN}', b'{"a":-Infinity}', "\ufeff{}".encode()])
def test_what_is_not_json(data: bytes) -> None:
    with pytest.raises(NotJson):
        parse_json(data)


@pytest.mark.parametrize("text", [r'{"a":"\ud800"}', r'{"\uDBff":1}', r'["\uDC00\uD800"]'])
def test_half_a_surrogate_pair_is_refused(text: str) -> None:
    with pytest.raises(BadJson):
        parse_json(text)
    assert parse_json(r'"\ud83d\uDE00"') == "😀"


@pytest.mark.parametrize("number", ["9" * 309, "-" + "9" * 400, "1" + "0" * 309])
def test_integers_that_other_parsers_fail_on_are_refused(number: str) -> None:
    """Whoever gets one with a sync may fail to parse the whole answer, each time."""
    for text in (f'{{"a":[{number}]}}', f'{{"a":{number},"a":1}}', number):
        with pytest.raises(BadJson):
            parse_json(text)
    assert parse_json(f'["{number}",{"9" * 308}]') == [number, 10**308 - 1]


@pytest.mark.parametrize("before", range(0, 160, 7))
def test_a_large_integer_is_found_wherever_it_is(before: int) -> None:
    with pytest.raises(BadJson):
        parse_json(f'["{"x" * before}",{"9" * 309}]')


def test_whole_numbers_are_those_of_matrix_json() -> None:
    """A database refuses larger ones, so they must not get there."""
    assert Fields({"n": MAX_INTEGER}).integer("n", 0) == MAX_INTEGER
    for value in (MAX_INTEGER + 1, 10**400, -1, True, 1.0, "1"):
        with pytest.raises(BadJson):
            Fields({"n": value}).integer("n", 0)


def test_null_is_no_value_of_what_is_optional() -> None:
    for fields in (Fields({}), Fields(dict.fromkeys("abcdefg"))):
        assert fields.boolean("a", True) is True
        assert fields.integer("b", 7) == 7
        assert (fields.strings("c"), fields.object("d"), fields.objects("e")) == ([], {}, [])
        assert (fields.optional_string("f"), fields.optional_object("g")) == (None, None)


@pytest.mark.parametrize("value", [None, 5, {}])
def test_what_is_required_is_no_null(value: object) -> None:
    with pytest.raises(BadJson):
        Fields({"a": value}).string("a")
    with pytest.raises(MissingParam):
        Fields({}).string("a")
