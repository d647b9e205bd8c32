"""The user directory, and rooms in common."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from murmuration.accounts.management import close_account
from murmuration.protocol.identifiers import UserId
from murmuration.storage.users import user_words
from tests.in_process import Client, segment
from tests.rooms.people import V1, V3, create_room, invite, join, leave, ok, refused

_numbers = itertools.count(1)


@pytest.fixture
def word() -> str:
    """Return a word that no other test uses, nor one that begins like it."""
    return f"quince{next(_numbers):06}x"


def name(client: Client, display_name: str) -> None:
    ok(client.put(f"{V3}/profile/{segment(client.user_id)}/displayname", {"displayname": display_name}))


def search(client: Client, term: str, **body: Any) -> Any:
    return ok(client.post(f"{V3}/user_directory/search", {"search_term": term, **body}))


def found(client: Client, term: str, **body: Any) -> list[str]:
    return [each["user_id"] for each in search(client, term, **body)["results"]]


@pytest.mark.parametrize("term", ["{}", "bobby {}", "{} BOB", "Bob", "@bob", "{}-tail"])
def test_by_beginnings_of_words(alice: Client, bob: Client, word: str, term: str) -> None:
    name(bob, f"Bobby {word.upper()} Tail")
    text = term.format(word[:-1])
    if "{}" in term:
        assert found(alice, text) == [bob.user_id]
    else:
        assert bob.user_id in found(alice, bob.user_id if term == "@bob" else word)


def test_by_an_id_without_its_sign(alice: Client, bob: Client, word: str) -> None:
    name(bob, word)
    local = bob.user_id[1:].partition(":")[0]
    assert found(alice, f"{local}:exampl") == [bob.user_id]
    assert found(alice, f"{local}:example.org") == [bob.user_id]
    assert found(alice, f"{local}:elsewhere") == []


@pytest.mark.parametrize(
    ("display_name", "term"),
    [("Ann: the {}", "ann: the {}"), ("{} ПРИВЕТ", "{} привет"), ("Nguye\u0302\u0303n {}", "nguy\u1ec5n {}")],
)
def test_by_names_with_signs_and_other_letters(
    alice: Client, bob: Client, word: str, display_name: str, term: str
) -> None:
    name(bob, display_name.format(word))
    assert found(alice, term.format(word)) == [bob.user_id]


def test_a_result_has_name_and_avatar(alice: Client, bob: Client, word: str) -> None:
    name(bob, word)
    ok(bob.put(f"{V3}/profile/{segment(bob.user_id)}/avatar_url", {"avatar_url": "mxc://example.org/a"}))
    assert search(alice, word) == {
        "results": [{"user_id": bob.user_id, "display_name": word, "avatar_url": "mxc://example.org/a"}],
        "limited": False,
    }


def test_all_words_must_fit(alice: Client, bob: Client, word: str) -> None:
    name(bob, word)
    assert found(alice, f"{word} nonsense") == []
    assert found(alice, "!?") == []
    assert found(alice, "") == []


def test_oneself_is_not_found(alice: Client, word: str) -> None:
    name(alice, word)
    assert found(alice, word) == []


def test_a_former_name_is_forgotten(alice: Client, bob: Client, word: str) -> None:
    name(bob, word)
    name(bob, "Robert")
    assert found(alice, word) == []
    assert user_words.find_by_prefix(word, 10) == []


def test_a_closed_account_is_not_found(alice: Client, bob: Client, word: str) -> None:
    name(bob, word)
    close_account(UserId(bob.user_id))
    assert found(alice, word) == []


def test_the_limit_says_that_there_are_more(make_client: Any, alice: Client, word: str) -> None:
    for _ in range(3):
        name(make_client("many"), word)
    answer = search(alice, word, limit=2)
    assert (len(answer["results"]), answer["limited"]) == (2, True)
    assert search(alice, word, limit=3)["limited"] is False


def test_wrong_requests(alice: Client) -> None:
    address = f"{V3}/user_directory/search"
    refused(alice.post(address, {}), 400, "M_MISSING_PARAM")
    refused(alice.post(address, {"search_term": 1}), 400, "M_BAD_JSON")
    refused(alice.post(address, {"search_term": "a", "limit": -1}), 400, "M_BAD_JSON")


MUTUAL = f"{V1}/mutual_rooms"
UNSTABLE = "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms"


@pytest.mark.parametrize("address", [MUTUAL, UNSTABLE])
def test_rooms_in_common(alice: Client, bob: Client, address: str) -> None:
    assert ok(alice.get(address, user_id=bob.user_id)) == {"joined": [], "count": 0}
    shared = [create_room(alice, preset="public_chat") for _ in range(2)]
    invited, left = create_room(alice), create_room(alice, preset="public_chat")
    for room_id in (*shared, left):
        join(bob, room_id)
    leave(bob, left)
    invite(alice, invited, bob)
    for one, other in ((alice, bob), (bob, alice)):
        answer = ok(one.get(address, user_id=other.user_id))
        assert answer == {"joined": sorted(shared), "count": 2}


def test_pages_of_rooms_in_common(alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("murmuration.search.mutual_rooms.PAGE", 1)
    rooms = sorted(create_room(alice, preset="public_chat") for _ in range(2))
    for room_id in rooms:
        join(bob, room_id)
    first = ok(alice.get(MUTUAL, user_id=bob.user_id))
    assert (first["joined"], first["count"]) == (rooms[:1], 2)
    second = ok(alice.get(MUTUAL, user_id=bob.user_id, **{"from": first["next_batch"]}))
    assert second == {"joined": rooms[1:], "count": 2}


def test_strangers_and_oneself(alice: Client) -> None:
    assert ok(alice.get(MUTUAL, user_id="@nobody:example.org"))["joined"] == []
    assert ok(alice.get(MUTUAL, user_id="@nobody:elsewhere.org"))["joined"] == []
    refused(alice.get(MUTUAL), 400, "M_MISSING_PARAM")
    refused(alice.get(MUTUAL, user_id=alice.user_id), 400, "M_INVALID_PARAM")
    refused(alice.get(MUTUAL, user_id="nobody"), 400, "M_INVALID_PARAM")
    refused(alice.get(MUTUAL, user_id="@a:b", **{"from": "x"}), 400, "M_INVALID_PARAM")
