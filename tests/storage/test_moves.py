"""Tests of moves: the changes of positions since the stored row that a token carries."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64encode
from dataclasses import replace
from typing import Any

import pytest

from murmuration.protocol.identifiers import UserId
from murmuration.storage.live.compact import moves
from murmuration.storage.live.positions import Positions, RoomPosition, mark
from murmuration.storage.live.token_forms import MARK, PLACE

ROW = Positions(
    rooms={name: RoomPosition(10, 3, {"main": (2, 1)}, (mark("@a:x"),)) for name in ("one", "two", "three")},
    others={"left": "12345678"},
    user=4,
    typing_until_ms={"one": 1_800_000_000_000},
)


def moved(**rooms: RoomPosition) -> Positions:
    """Return the row after its client was shown news of these rooms."""
    after = ROW.copy()
    for name, position in rooms.items():
        after.rooms.pop(name)
        after.rooms[name] = position
    return after


def test_the_rooms_that_moved_come_back_as_they_were_shown() -> None:
    position = RoomPosition(12, 5, {"main": (0, 0), "$thread": (3, 0)}, (mark("@a:x"), mark("@b:x")))
    after = moved(one=position)
    after.typing_until_ms = {"two": 1_800_000_000_001}
    text = moves.encode(ROW, after)
    assert text
    found = moves.apply(ROW, text)
    assert found == after
    assert list(found.rooms) == ["two", "three", "one"], "those told of the longest ago come first"
    assert ROW.rooms["one"] == RoomPosition(10, 3, {"main": (2, 1)}, (mark("@a:x"),))


def test_what_is_stored_needs_no_text() -> None:
    assert moves.encode(ROW, ROW.copy()) == ""
    assert moves.apply(ROW, "") == ROW


@pytest.mark.parametrize(
    "after",
    [
        replace(ROW, user=5),
        replace(ROW, unacknowledged=True),
        replace(ROW, present={UserId("@a:x"): (1, "", "online")}),
        replace(ROW, others={}),
        replace(ROW, rooms={**ROW.rooms, "four": RoomPosition(1, 1)}),
        replace(ROW, rooms={"one": ROW.rooms["one"]}),
        moved(one=RoomPosition(12, 5, {}, (mark("@b:x"),))),
        moved(one=RoomPosition(12, 5, {f"${number}": (1, 1) for number in range(40)}, (mark("@a:x"),))),
    ],
)
def test_what_is_more_than_a_few_moves_has_a_row_written(after: Positions) -> None:
    assert moves.encode(ROW, after) is None


@pytest.mark.parametrize(
    "made_up",
    [
        "%",
        "x",
        [],
        [[["nowhere", 1, 1, [], ""]], {}],
        [[["one", "1", 1, [], ""]], {}],
        [[["one", True, 1, [], ""]], {}],
        [[["one", 1, 1 << 60, [], ""]], {}],
        [[["one", 1, 1, [["main", 1]], ""]], {}],
        [[["one", 1, 1, [], 5]], {}],
        [[["one", 1, 1, [], ""]], []],
        [[["one", 1, 1, [], ""]], {"one": None}],
        [[None], {}],
        {"a": 1},
    ],
)
def test_text_that_nobody_wrote_here_changes_nothing(made_up: Any) -> None:
    text = made_up if isinstance(made_up, str) else urlsafe_b64encode(json.dumps(made_up).encode()).decode()
    assert moves.apply(ROW, text.rstrip("=")) == ROW


def test_the_longest_moves_have_room_in_a_mark() -> None:
    text = "x" * moves.LONGEST
    slot = f"p1{'n' * 12}{1_800_000_000:08x}p2-{text}"
    marked = f"p_abcdefgh.{slot}.{'0' * 32}.{'0' * 12}.1800000000.e30.1800000000000"
    place = PLACE.fullmatch(marked)
    assert place is not None
    assert place["moves"] == text
    assert re.fullmatch(MARK, marked) is not None
