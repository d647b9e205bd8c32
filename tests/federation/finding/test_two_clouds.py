"""Two local clouds over TLS: a space with rooms on both, directories, summaries, policy servers."""

from __future__ import annotations

import json
import urllib.error
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from local_cloud.testing import LocalCloud
from tests.federation.membership.test_two_clouds import V3, User, said

V1 = "/_matrix/client/v1"


def server_of(user: User) -> str:
    return str(user.user_id.partition(":")[2])


def create(user: User, name: str, **body: Any) -> str:
    made = user.call("POST", f"{V3}/createRoom", {"name": name, "preset": "public_chat", **body})
    return str(made["room_id"])


def space(user: User, name: str, **body: Any) -> str:
    return create(user, name, creation_content={"type": "m.space"}, **body)


def put(user: User, parent: str, child: str, via: str, order: str) -> None:
    path = f"{V3}/rooms/{quote(parent)}/state/m.space.child/{quote(child)}"
    user.call("PUT", path, {"via": [via], "order": order})


def walk(user: User, room_id: str, limit: int, **more: str) -> list[str]:
    """Return the names of the rooms of a space, over all its pages."""
    names: list[str] = []
    query: dict[str, Any] = {"limit": limit, **more}
    while True:
        page = user.call("GET", f"{V1}/rooms/{quote(room_id)}/hierarchy?{urlencode(query)}")
        names += [room["name"] for room in page["rooms"]]
        if "next_batch" not in page:
            return names
        query["from"] = page["next_batch"]


def refusal(user: User, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    with pytest.raises(urllib.error.HTTPError) as caught:
        user.call(method, path, body)
    return caught.value.code, json.loads(caught.value.read())


def test_a_space_over_both_is_walked_from_both(two: list[LocalCloud]) -> None:
    """A tree of four levels that changes server at each, with a loop and a room that is private."""
    alice, bob = User(two[0], "walker"), User(two[1], "walker")
    a, b = server_of(alice), server_of(bob)
    root, inner = space(alice, "root"), space(bob, "inner")
    deeper = space(alice, "deeper")
    theirs, ours = create(bob, "theirs"), create(alice, "ours")
    private = create(bob, "private", preset="private_chat")
    put(alice, root, inner, b, "1")
    put(alice, root, ours, a, "2")
    put(bob, inner, deeper, a, "1")
    put(bob, inner, theirs, b, "2")
    put(bob, inner, private, b, "3")
    put(alice, deeper, root, a, "1")
    shown = ["root", "inner", "deeper", "theirs", "ours"]
    assert walk(alice, root, 50) == walk(alice, root, 1) == shown
    all_of_them = ["root", "inner", "deeper", "theirs", "private", "ours"]
    assert walk(bob, root, 50, via=a) == walk(bob, root, 2, via=a) == all_of_them


def test_directories_and_summaries_of_the_other(two: list[LocalCloud]) -> None:
    alice, bob = User(two[0], "finder"), User(two[1], "finder")
    alias = f"#heronry:{server_of(bob)}"
    room_id = create(bob, "Heronry", visibility="public", room_alias_name="heronry", topic="waders")
    where = f"{V3}/publicRooms?server={quote(server_of(bob))}"
    by_word = {"filter": {"generic_search_term": "WADE"}}
    for page in (alice.call("GET", where), alice.call("POST", where, by_word)):
        (found,) = page["chunk"]
        assert (found["room_id"], found["name"], found["canonical_alias"]) == (room_id, "Heronry", alias)
    assert alice.call("POST", where, {"filter": {"generic_search_term": "owl"}})["chunk"] == []
    assert alice.call("GET", f"{V3}/directory/room/{quote(alias)}")["room_id"] == room_id
    for path in (quote(alias), f"{quote(room_id)}?via={quote(server_of(bob))}"):
        summary = alice.call("GET", f"{V1}/room_summary/{path}")
        assert (summary["name"], summary["membership"]) == ("Heronry", "leave")
    alice.call("POST", f"{V3}/join/{quote(alias)}", {})
    assert alice.call("GET", f"{V1}/room_summary/{quote(room_id)}")["membership"] == "join"


def test_a_server_that_is_no_policy_server(two: list[LocalCloud]) -> None:
    """The other server can't write into the room until the policy is removed; removing it needs no
    signature.
    """
    alice, bob = User(two[0], "guard"), User(two[1], "guard")
    room_id = create(alice, "Guarded", invite=[bob.user_id])
    bob.until(lambda body: room_id in body.get("rooms", {}).get("invite", {}))
    bob.call("POST", f"{V3}/join/{quote(room_id)}", {})
    alice.until(lambda body: bob.user_id in json.dumps(body))
    where = f"{V3}/rooms/{quote(room_id)}"
    content = {"via": server_of(bob), "public_keys": {"ed25519": "A" * 43}}
    alice.call("PUT", f"{where}/state/m.room.policy", content)
    message = {"msgtype": "m.text", "body": "nobody signs this"}
    status, body = refusal(alice, "PUT", f"{where}/send/m.room.message/1", message)
    assert (status, body["errcode"]) == (404, "M_UNRECOGNIZED")
    alice.call("PUT", f"{where}/state/m.room.policy", {})
    alice.call("PUT", f"{where}/send/m.room.message/2", {**message, "body": "free again"})
    bob.until(said(room_id, "free again"))
