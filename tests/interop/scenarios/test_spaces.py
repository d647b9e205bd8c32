"""A space with rooms on a Synapse and on ours, walked from both; rooms that are found in directories."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import quote

import pytest

from .conftest import Pair
from .people import Person, eventually

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("synapse")]

V1 = "/_matrix/client/v1"


def create(person: Person, name: str, **body: Any) -> str:
    return person.create("10", name=name, **body)


def space(person: Person, name: str) -> str:
    return create(person, name, creation_content={"type": "m.space"})


def hold(person: Person, parent: str, child: str, via: Person, order: str) -> None:
    """Make a room a child of a space."""
    person.put_state(parent, "m.space.child", {"via": [via.server_name], "order": order}, child)


def walk(person: Person, room_id: str, limit: int = 50) -> list[str]:
    """Return the names of a space's rooms, over all pages."""
    names: list[str] = []
    query = {"limit": str(limit)}
    for _ in range(50):
        page = person.call("GET", f"{V1}/rooms/{quote(room_id)}/hierarchy", **query)
        names += [room["name"] for room in page["rooms"]]
        if "next_batch" not in page:
            return names
        query["from"] = page["next_batch"]
    raise AssertionError("the walk has no end")


def shows(person: Person, room_id: str, limit: int, names: list[str]) -> bool:
    return sorted(walk(person, room_id, limit)) == names


def test_a_space_over_both_is_walked_from_both(pair: Pair) -> None:
    """The tree changes the server at each level, and has a loop and a room that nobody else may see."""
    host, guest = pair.people()
    root, inner = space(host, "root"), space(guest, "inner")
    deeper = space(host, "deeper")
    theirs, ours = create(guest, "theirs"), create(host, "ours")
    private = create(guest, "private", rule="invite")
    hold(host, root, inner, guest, "1")
    hold(host, root, ours, host, "2")
    hold(guest, inner, deeper, host, "1")
    hold(guest, inner, theirs, guest, "2")
    hold(guest, inner, private, guest, "3")
    hold(host, deeper, root, host, "1")
    guest.join(root, host.server_name)
    guest.is_told(root, "join")
    open_to_all = ["deeper", "inner", "ours", "root", "theirs"]
    for person, shown in ((host, open_to_all), (guest, sorted([*open_to_all, "private"]))):
        for limit in (50, 2):
            eventually(partial(shows, person, root, limit, shown), f"the walk of {person.user_id}")


def test_rooms_are_found_in_the_other_servers_directory(pair: Pair) -> None:
    host, guest = pair.people()
    word = f"wader{host.user_id[1:].partition(':')[0]}"
    room_id = create(host, f"Heronry {word}", visibility="public", topic="birds")
    answer = guest.call(
        "POST", "/publicRooms", {"filter": {"generic_search_term": word}}, server=host.server_name
    )
    (found,) = answer["chunk"]
    assert (found["room_id"], found["topic"], found["num_joined_members"]) == (room_id, "birds", 1)
    assert guest.join(room_id, host.server_name) == room_id


def test_a_room_is_summarised_before_it_is_joined(pair: Pair) -> None:
    host, guest = pair.people()
    room_id = create(host, "Look first")
    path = f"{V1}/room_summary/{quote(room_id)}"
    found = guest.call("GET", path, via=host.server_name)
    assert (found["name"], found["num_joined_members"]) == ("Look first", 1)
