"""The hierarchy of a space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.in_process import Client
from tests.rooms.people import V1, create_room, invite, join, ok, path, refused, set_state

Make = Callable[..., Client]


def space(client: Client, name: str, **body: Any) -> str:
    return create_room(client, name=name, creation_content={"type": "m.space"}, **body)


def child(client: Client, parent: str, room_id: str, **content: Any) -> None:
    set_state(client, parent, "m.space.child", {"via": ["example.org"], **content}, room_id)


def page(client: Client, room_id: str, **query: Any) -> Any:
    return ok(client.get(path(room_id, "hierarchy", version=V1), **query))


def names(found: Any) -> list[str]:
    return [room.get("name", "") for room in found["rooms"]]


@pytest.fixture
def tree(alice: Client) -> str:
    """Return a space with three rooms, of which one is a space with a room and the root itself."""
    root = space(alice, "root", preset="public_chat")
    inner = space(alice, "inner", preset="public_chat")
    leaves = {name: create_room(alice, name=name, preset="public_chat") for name in ("a", "b", "deep")}
    child(alice, inner, leaves["deep"])
    child(alice, inner, root)
    child(alice, root, leaves["b"], suggested=True)
    child(alice, root, leaves["a"], order="2")
    child(alice, root, inner, order="1", suggested=True)
    return root


def test_depth_first_by_order_then_time(alice: Client, tree: str) -> None:
    found = page(alice, tree)
    assert names(found) == ["root", "inner", "deep", "a", "b"]
    assert "next_batch" not in found
    root = found["rooms"][0]
    assert (root["room_type"], len(root["children_state"])) == ("m.space", 3)
    assert root["children_state"][0].keys() == {
        "type",
        "state_key",
        "content",
        "sender",
        "origin_server_ts",
    }
    assert found["rooms"][2]["children_state"] == []


def test_depth_and_suggestions(alice: Client, tree: str) -> None:
    assert names(page(alice, tree, max_depth=0)) == ["root"]
    assert names(page(alice, tree, max_depth=1)) == ["root", "inner", "a", "b"]
    assert names(page(alice, tree, suggested_only="true")) == ["root", "inner", "b"]


def test_pages_go_on(alice: Client, bob: Client, tree: str) -> None:
    found: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        answer = page(alice, tree, **query)
        found += names(answer)
        if "next_batch" not in answer:
            break
        query["from"] = answer["next_batch"]
        changed = alice.get(path(tree, "hierarchy", version=V1), **query, max_depth=1)
        refused(changed, 400, "M_INVALID_PARAM")
        refused(bob.get(path(tree, "hierarchy", version=V1), **query), 400, "M_INVALID_PARAM")
    assert found == ["root", "inner", "deep", "a", "b"]


def test_what_one_may_not_know_is_left_out(alice: Client, bob: Client, tree: str) -> None:
    private = create_room(alice, name="private", preset="private_chat")
    child(alice, tree, private)
    child(alice, tree, "!unknown:elsewhere.org")
    assert "private" in names(page(alice, tree))
    assert names(page(bob, tree)) == ["root", "inner", "deep", "a", "b"]
    invite(alice, private, bob)
    assert "private" in names(page(bob, tree))


def test_a_removed_child_is_none(alice: Client, tree: str) -> None:
    room = create_room(alice, name="gone", preset="public_chat")
    set_state(alice, tree, "m.space.child", {"via": []}, room)
    assert "gone" not in names(page(alice, tree))


def test_a_root_that_one_may_not_know(alice: Client, bob: Client, tree: str) -> None:
    private = space(alice, "private", preset="private_chat")
    for room_id in (private, "!unknown:example.org", "x" * 300):
        refused(bob.get(path(room_id, "hierarchy", version=V1)), 403, "M_FORBIDDEN")
    join(bob, tree)
    ok(alice.post(path(tree, "ban"), {"user_id": bob.user_id}))
    refused(bob.get(path(tree, "hierarchy", version=V1)), 403, "M_FORBIDDEN")


@pytest.mark.parametrize("query", [{"limit": 0}, {"max_depth": -1}, {"from": "x"}, {"suggested_only": "x"}])
def test_wrong_queries(alice: Client, tree: str, query: dict[str, Any]) -> None:
    refused(alice.get(path(tree, "hierarchy", version=V1), **query), 400, "M_INVALID_PARAM")
