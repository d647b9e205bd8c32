"""Version 2: the published rooms, searched once and read page by page; aliases by their local part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration import clock
from tests.in_process import Client, segment
from tests.rooms.people import create_room, join, ok, path, refused

V2, V3 = "/_matrix/client/v2", "/_matrix/client/v3"
MakeClient = Callable[..., Client]


def search(client: Client, **query: Any) -> Any:
    return ok(client.get(f"{V2}/publishedRooms", **query))


def ids(answer: Any) -> list[str]:
    return [room["room_id"] for room in answer["rooms"]]


@pytest.fixture
def word(alice: Client) -> str:
    """Return a word that no other test's rooms have in their names."""
    return alice.user_id[1:].partition(":")[0]


def publish(alice: Client, word: str, count: int) -> list[str]:
    return [create_room(alice, visibility="public", name=f"{word} {number}") for number in range(count)]


def test_what_was_found_is_read_page_by_page(alice: Client, word: str) -> None:
    rooms = publish(alice, word, 5)
    first = search(alice, search=word.upper(), limit=2)
    second = search(alice, token=first["token"])
    third = search(alice, token=second["token"])
    assert [page["page"] for page in (first, second, third)] == [1, 2, 3]
    assert {page["total"] for page in (first, second, third)} == {5}
    assert [len(ids(page)) for page in (first, second, third)] == [2, 2, 1]
    assert sorted([*ids(first), *ids(second), *ids(third)]) == sorted(rooms)
    assert "token" not in third
    assert search(alice, token=first["token"]) == second


def test_a_room_is_shown_with_its_publishable_state(
    alice: Client, word: str, make_client: MakeClient
) -> None:
    room_id = create_room(alice, visibility="public", name="x", topic=word, room_alias_name=word)
    join(make_client("bob"), room_id)
    [room] = search(alice, search=word)["rooms"]
    assert (room["room_id"], room["members"]) == (room_id, 2)
    assert {event["type"] for event in room["state"]} == {
        "m.room.name", "m.room.topic", "m.room.canonical_alias",
    }  # fmt: skip
    assert "token" not in search(alice, search=word)


def test_what_is_published_later_moves_no_page(alice: Client, word: str, make_client: MakeClient) -> None:
    publish(alice, word, 4)
    first = search(alice, search=word, limit=2)
    popular = publish(alice, word, 1)[0]
    join(make_client("bob"), popular)
    second = search(alice, token=first["token"])
    assert popular not in ids(second)
    assert second["total"] == 4
    assert not set(ids(first)) & set(ids(second))
    assert ids(search(alice, search=word, limit=1)) == [popular]


def test_a_room_that_was_withdrawn_is_not_shown(alice: Client, word: str) -> None:
    rooms = publish(alice, word, 4)
    first = search(alice, search=word, limit=2)
    for room_id in set(rooms) - set(ids(first)):
        ok(alice.put(f"{V3}/directory/list/room/{segment(room_id)}", {"visibility": "private"}))
    second = search(alice, token=first["token"])
    assert (ids(second), second["total"]) == ([], 4)


def test_tokens_that_are_none(alice: Client, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(alice, word, 3)
    token = search(alice, search=word, limit=1)["token"]
    name = token.partition(".")[0]
    for other in ("x", f"{name}.", f"{name}.99999", "A" * 16 + ".2", name):
        refused(alice.get(f"{V2}/publishedRooms", token=other), 400, "M_INVALID_PARAM")
    for number in (0, 4, 9999):
        assert ids(search(alice, token=f"{name}.{number}")) == []
    now = clock.now_ms()
    monkeypatch.setattr("murmuration.storage.rooms.directory_snapshots.now_ms", lambda: now + 3_700_000)
    refused(alice.get(f"{V2}/publishedRooms", token=token), 400, "M_INVALID_PARAM")


def test_another_servers_rooms(alice: Client) -> None:
    refused(alice.get(f"{V2}/publishedRooms", server="other.example"), 404, "M_NOT_FOUND")
    assert search(alice, server="example.org", limit=1)["page"] == 1
    refused(Client().get(f"{V2}/publishedRooms"), 401, "M_MISSING_TOKEN")


def test_a_room_is_given_an_alias_by_its_local_part(
    alice: Client, word: str, make_client: MakeClient
) -> None:
    room_id = create_room(alice)
    where = path(room_id, "aliases", version=V2)
    assert ok(alice.post(where, {"localpart": word})) == {"room_alias": f"#{word}:example.org"}
    alias = segment(f"#{word}:example.org")
    assert ok(alice.get(f"{V3}/directory/room/{alias}"))["room_id"] == room_id
    refused(alice.post(where, {"localpart": word}), 409, "M_UNKNOWN")
    for body in ({"localpart": ""}, {"localpart": "a:b"}):
        refused(alice.post(where, body), 400, "M_INVALID_PARAM")
    refused(alice.post(where, {}), 400, "M_MISSING_PARAM")
    refused(make_client("bob").post(where, {"localpart": f"{word}2"}), 403, "M_FORBIDDEN")
