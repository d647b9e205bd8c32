"""Required state: what it admits, and when one covers another."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from murmuration.protocol.identifiers import UserId
from murmuration.protocol.sliding import required_state
from murmuration.protocol.sliding.required_state import RequiredState, admits, combine, covers, parse

ME = UserId("@me:example.org")
TYPES = ("m.room.member", "m.room.name", "x")
KEYS = ("", ME, "@you:example.org")
PAIRS = [(event_type, key) for event_type in TYPES for key in KEYS]
ELEMENTS = [(event_type, key) for event_type in (None, *TYPES) for key in (None, *KEYS)]
elements = st.lists(st.sampled_from(ELEMENTS), max_size=4).map(frozenset)
states = st.builds(RequiredState, elements, elements, st.booleans())
UNHURRIED = settings(derandomize=True)
parts = st.lists(states, max_size=3).map(frozenset)
required = parts.map(combine)


@UNHURRIED
@given(required, required)
def test_what_covers_another_admits_all_that_it_admits(one: Any, other: Any) -> None:
    if covers(one, other):
        assert all(admits(one, pair) for pair in PAIRS if admits(other, pair))
        assert required_state.is_lazy(one) or not required_state.is_lazy(other) or _has_all_members(one)


def _has_all_members(wanted: Any) -> bool:
    return required_state.members_of(wanted) is None


@UNHURRIED
@given(parts)
def test_combining_admits_what_the_parts_admit(some: Any) -> None:
    whole = combine(some)
    for pair in PAIRS:
        assert admits(whole, pair) == any(each.admits(pair) for each in some)


@UNHURRIED
@given(required)
def test_what_is_stored_comes_back(wanted: Any) -> None:
    assert required_state.load(required_state.dump(wanted)) == wanted


@pytest.mark.parametrize(
    ("given_pairs", "admitted"),
    [
        ([["*", "*"]], PAIRS),
        ([["m.room.name", ""]], [("m.room.name", "")]),
        ([["x", "*"]], [("x", key) for key in KEYS]),
        ([["*", ""]], [(event_type, "") for event_type in TYPES]),
        ([["m.room.member", "$ME"]], [("m.room.member", ME)]),
        ([["*", "*"], ["m.room.member", "$LAZY"]], [pair for pair in PAIRS if pair[0] != "m.room.member"]),
        ([["m.room.member", "$LAZY"], ["m.room.member", "$ME"]], [("m.room.member", ME)]),
        ([], []),
    ],
)
def test_pairs(given_pairs: Any, admitted: Any) -> None:
    wanted = parse(given_pairs, ME)
    assert [pair for pair in PAIRS if wanted.admits(pair)] == [pair for pair in PAIRS if pair in admitted]


def test_the_accepted_form() -> None:
    wanted = parse({"include": [{}], "exclude": [{"type": "x", "state_key": ""}], "lazy_members": True}, ME)
    assert wanted.lazy
    assert [pair for pair in PAIRS if wanted.admits(pair)] == [
        ("m.room.name", ""),
        ("m.room.name", ME),
        ("m.room.name", "@you:example.org"),
        ("x", ME),
        ("x", "@you:example.org"),
    ]
