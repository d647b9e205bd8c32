"""Dot-separated property paths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murmuration.protocol.encoding.property_paths import ABSENT, parse_path, value_at


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("content.body", ("content", "body")),
        (r"content.m\.relates_to", ("content", "m.relates_to")),
        (r"content.m\\foo", ("content", r"m\foo")),
        (r"content.m\x", ("content", r"m\x")),
        (r"a\\.b", ("a\\", "b")),
        (r"a\\\.b", (r"a\.b",)),
        ("a\\", ("a\\",)),
        ("", ("",)),
        ("a..b.", ("a", "", "b", "")),
        ("a\nb.c", ("a\nb", "c")),
    ],
)
def test_paths_are_taken_apart(path, names):
    assert parse_path(path) == names


@given(st.lists(st.text(alphabet="ab.\\", max_size=5), min_size=1, max_size=4))
def test_escaping_any_name_leads_to_it(names):
    path = ".".join(name.replace("\\", r"\\").replace(".", r"\.") for name in names)
    assert parse_path(path) == tuple(names)


def test_values_are_found_or_absent():
    event = {"content": {"m.mentions": {"room": None}, "list": [1]}, "type": "t"}
    assert value_at(event, ("content", "m.mentions", "room")) is None
    assert value_at(event, ("type",)) == "t"
    assert value_at(event, ("content", "missing")) is ABSENT
    assert value_at(event, ("type", "deeper")) is ABSENT
    assert value_at(event, ("content", "list", "0")) is ABSENT
