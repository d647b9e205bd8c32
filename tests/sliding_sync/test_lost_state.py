"""Sliding sync after a state resolution has removed state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration.protocol.identifiers import UserId
from tests.in_process import Client
from tests.rooms.other_servers import Mirror, current_state
from tests.rooms.random_forks import BOB
from tests.rooms.receiving.test_receiving import open_room
from tests.sliding_sync.client import MERGED, PATH, Sliding

Make = Callable[..., Client]
NAME = ("m.room.name", "")


def lose_the_name(alice: Client, sliding: Sliding) -> tuple[Mirror, Any]:
    """Return the room's section before and after Bob's name for it is lost, since Alice had banned him on a
    fork.
    """
    mirror = open_room(alice, admins=(UserId(BOB),))
    base = mirror.newest()
    mirror.send(mirror.state(UserId(BOB), "m.room.name", {"name": "Bob's"}, after=base))
    assert sliding.room(mirror.room_id)["name"] == "Bob's"
    mirror.send(mirror.member(UserId(alice.user_id), BOB, "ban", after=base))
    assert NAME not in current_state(mirror.room_id)
    return mirror, sliding.room(mirror.room_id)


def test_the_name_is_gone(alice: Client) -> None:
    _, section = lose_the_name(alice, Sliding(alice, path=PATH))
    assert section["name"] is None
    assert [hero["user_id"] for hero in section["heroes"]] == [BOB]
    assert NAME[0] not in {event["type"] for event in section["required_state"]}


@pytest.mark.parametrize("is_required", [True, False])
def test_the_accepted_form_has_a_stub(alice: Client, is_required: bool) -> None:
    include = [{"type": "m.room.name"}] if is_required else [{"type": "m.room.topic"}]
    wanted = {"range": [0, 9], "timeline_limit": 1, "required_state": {"include": include}}
    _, section = lose_the_name(alice, Sliding(alice, path=MERGED, lists={"all": wanted}))
    assert section["name"] is None
    stubs = [event for event in section.get("required_state", ()) if "content" not in event]
    assert stubs == ([{"type": "m.room.name", "state_key": ""}] if is_required else [])
