"""Large updates are split into parts that together say the same, in an order that clients can follow."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from murmuration.delivery.splitting import split

LIMIT = 2_000
EVENTS = st.lists(st.builds(lambda size, n: {"n": n, "x": "x" * size}, st.integers(0, 500), st.integers()))


@st.composite
def updates(draw: st.DrawFn) -> dict[str, Any]:
    def room() -> dict[str, Any]:
        return {
            "timeline": {"events": draw(EVENTS), "limited": True, "prev_batch": "t1"},
            "state": {"events": draw(EVENTS)},
            "summary": {"m.joined_member_count": 2},
        }

    return {
        "next_batch": "s_new",
        "account_data": {"events": draw(EVENTS)},
        "rooms": {
            "join": {f"!{number}": room() for number in range(draw(st.integers(0, 3)))},
            "invite": {"!invite": {"invite_state": {"events": draw(EVENTS)[:3]}}},
        },
        "device_one_time_keys_count": {"a": 1},
    }


def flatten(update: dict[str, Any]) -> dict[str, list[Any]]:
    """Return the events of each section, and what else it says."""
    found: dict[str, list[Any]] = {}

    def walk(path: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                walk(f"{path}/{name}", inner)
        elif isinstance(value, list):
            found.setdefault(path, []).extend(value)
        elif path != "/next_batch":
            found.setdefault(path, []).append(value)

    walk("", update)
    return {path: values for path, values in found.items() if values}


@given(updates())
def test_the_parts_are_the_whole(update: dict[str, Any]) -> None:
    parts = split(update, "s_old", limit=LIMIT)
    merged: dict[str, list[Any]] = {}
    for part in parts:
        for path, values in flatten(part).items():
            merged.setdefault(path, []).extend(values)
    assert merged == flatten(update)
    assert [part["next_batch"] for part in parts] == ["s_old"] * (len(parts) - 1) + ["s_new"]
    assert all(len(json.dumps(part, separators=(",", ":")).encode()) <= LIMIT for part in parts)


def test_state_goes_before_the_timeline() -> None:
    events = [{"n": number, "x": "x" * 500} for number in range(8)]
    room = {"timeline": {"events": events}, "state": {"events": events}}
    parts = split({"next_batch": "s_new", "rooms": {"join": {"!r": room}}}, None, limit=LIMIT)
    names = [name for part in parts for name in part["rooms"]["join"]["!r"]]
    assert names == sorted(names)
    assert len(parts) > 2
