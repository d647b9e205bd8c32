"""Directories: ours for other servers, and theirs for our users."""

from __future__ import annotations

import json
from typing import Any

import pytest

from murmuration.federation.finding import public_rooms
from tests.federation.asking import FED, Peer, body_of
from tests.federation.finding.conftest import Elsewhere
from tests.federation.network import Network, Reply
from tests.in_process import Client, segment
from tests.rooms.people import V3, create_room, invite, join, leave, ok, refused

WHERE, THEIRS = f"{V3}/publicRooms", f"{FED}/v1/publicRooms"


def published(client: Client, name: str, **more: Any) -> str:
    return create_room(client, name=name, preset="public_chat", visibility="public", **more)


def ours(peer: Peer, term: str, **more: Any) -> Any:
    body = {"filter": {"generic_search_term": term}, **more}
    return body_of(peer.request("POST", THEIRS, body))


def names(page: Any) -> list[str]:
    return [room["name"] for room in page["chunk"]]


def test_another_server_pages_through_our_directory(alice: Client, bob: Client, peer: Peer) -> None:
    word = f"heron {alice.user_id[1:].partition(':')[0]}"
    rooms = [published(alice, f"{word} {number}", topic="wading") for number in range(3)]
    join(bob, rooms[2])
    published(alice, f"space of {word}", creation_content={"type": "m.space"})
    first = ours(peer, f"{word.upper()} ", limit=2)
    assert names(first)[0] == f"{word} 2"
    assert (first["chunk"][0]["room_id"], first["chunk"][0]["num_joined_members"]) == (rooms[2], 2)
    assert first["total_room_count_estimate"] == 3
    second = ours(peer, f"{word} ", limit=2, since=first["next_batch"])
    assert sorted(names(first) + names(second)) == [f"{word} {number}" for number in range(3)]
    assert "next_batch" not in second
    assert names(ours(peer, f"{word} ", limit=2, since=second["prev_batch"])) == names(first)
    pages = [body_of(peer.get(THEIRS))]
    while token := pages[-1].get("next_batch"):
        pages.append(body_of(peer.get(THEIRS, since=token)))
    assert {*rooms} <= {room["room_id"] for page in pages for room in page["chunk"]}
    assert len(body_of(peer.get(THEIRS, limit=1))["chunk"]) == 1

    def of_type(kind: str | None) -> list[str]:
        wanted = {"generic_search_term": f"space of {word}", "room_types": [kind]}
        return names(body_of(peer.request("POST", THEIRS, {"filter": wanted})))

    assert of_type("m.space") == [f"space of {word}"]
    assert of_type(None) == []


def test_what_is_not_for_other_servers(alice: Client, peer: Peer) -> None:
    """Rooms without federation aren't listed, nor rooms that no user of this server is in any more."""
    published(alice, "grebe here", creation_content={"m.federate": False})
    gone = published(alice, "grebe gone")
    shown = published(alice, "grebe shown")
    leave(alice, gone)
    assert [room["room_id"] for room in ours(peer, "grebe")["chunk"]] == [shown]
    found = ok(alice.post(WHERE, {"filter": {"generic_search_term": "grebe"}}))
    assert sorted(names(found)) == ["grebe here", "grebe shown"]


def test_who_may_ask_and_how(alice: Client, peer: Peer) -> None:
    refused(alice.get(THEIRS), 401, "M_UNAUTHORIZED")
    refused(peer.get(THEIRS, since="x"), 400, "M_INVALID_PARAM")
    refused(peer.get(THEIRS, limit="x"), 400, "M_INVALID_PARAM")
    refused(peer.request("POST", THEIRS, {"filter": 1}), 400, "M_BAD_JSON")
    refused(peer.request("POST", THEIRS, []), 400, "M_BAD_JSON")


def test_a_client_asks_for_the_directory_of_another_server(alice: Client, elsewhere: Elsewhere) -> None:
    asked: list[Any] = []

    def directory(wanted: Any) -> Any:
        asked.append(wanted)
        return {
            "chunk": [
                {**elsewhere.summary("tea"), "topic": "t" * 5_000, "secret": 1},
                {"name": "no ID"},
                {"room_id": "!\ud800:x.example"},
                {**elsewhere.summary("odd"), "name": 5, "num_joined_members": -1, "avatar_url": "a\ud800"},
                {**elsewhere.summary("odd"), "name": None, "num_joined_members": 10**400},
                "nonsense",
            ],
            "next_batch": "on", "prev_batch": 7, "total_room_count_estimate": 12,
        }  # fmt: skip

    elsewhere.directory = directory
    found = ok(alice.get(WHERE, server=elsewhere.name, limit=3, since="token"))
    tea, odd, full = found["chunk"]
    assert tea == {**elsewhere.summary("tea"), "topic": "t" * 1_999 + "…"}
    assert odd == {
        "room_id": elsewhere.id("odd"), "num_joined_members": 0, "world_readable": False,
        "guest_can_join": False, "join_rule": "public",
    }  # fmt: skip
    assert full["num_joined_members"] == 0
    assert (found["next_batch"], found["total_room_count_estimate"], "prev_batch" in found) == (
        "on",
        12,
        False,
    )
    body = {
        "filter": {"generic_search_term": "tea", "room_types": ["m.space", None]},
        "third_party_instance_id": "irc",
    }
    ok(alice.post(f"{WHERE}?server={elsewhere.name}", body))
    assert asked == [
        {"limit": "3", "since": "token"},
        {"limit": 100, "filter": body["filter"], "third_party_instance_id": "irc"},
    ]
    assert [each.method for each in elsewhere.received] == ["GET", "POST"]


def test_our_own_name_is_our_directory(alice: Client, elsewhere: Elsewhere) -> None:
    published(alice, "kite")
    body = {"filter": {"generic_search_term": "kite"}}
    assert names(ok(alice.post(f"{WHERE}?server=example.org", body))) == ["kite"]
    assert ok(Client().get(WHERE, server="example.org", limit=1))["chunk"]


@pytest.mark.parametrize("answer", [{}, {"chunk": "x"}, [], Reply(b"{no JSON"), Reply(b"x" * 4_300_000)])
def test_a_directory_that_makes_no_sense(alice: Client, elsewhere: Elsewhere, answer: Any) -> None:
    elsewhere.directory = lambda _: answer
    refused(alice.get(WHERE, server=elsewhere.name), 502, "M_UNKNOWN")


def test_a_directory_that_is_refused(alice: Client, elsewhere: Elsewhere) -> None:
    error = {"errcode": "M_FORBIDDEN", "error": "Members only"}
    elsewhere.directory = lambda _: Reply(error, 403)
    answer = alice.get(WHERE, server=elsewhere.name)
    refused(answer, 403, "M_FORBIDDEN")
    assert answer.json["error"] == "Members only"
    elsewhere.directory = lambda _: Reply({"errcode": "M_UNRECOGNIZED", "error": "?"}, 404)
    refused(alice.get(WHERE, server=elsewhere.name), 502, "M_UNKNOWN")


def test_servers_that_are_not_there(
    alice: Client, network: Network, elsewhere: Elsewhere, fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(alice.get(WHERE, server=f"nowhere.{fresh_name}"), 502, "M_UNKNOWN")
    refused(alice.get(WHERE, server="no server"), 400, "M_INVALID_PARAM")
    refused(alice.get(WHERE, server="10.0.0.1"), 502, "M_UNKNOWN")
    refused(Client().get(WHERE, server=elsewhere.name), 401, "M_MISSING_TOKEN")
    monkeypatch.setattr(public_rooms, "SECONDS", 0.0)
    answer = alice.get(WHERE, server=elsewhere.name)
    refused(answer, 504, "M_UNKNOWN")
    assert answer.json["error"] == f"{elsewhere.name} did not answer in time"


def test_servers_that_the_operator_excludes(alice: Client, elsewhere: Elsewhere, configure: Any) -> None:
    configure(FEDERATION_DENY=elsewhere.name)
    refused(alice.get(WHERE, server=elsewhere.name), 403, "M_FORBIDDEN")
    configure(FEDERATION="off")
    refused(alice.get(WHERE, server=elsewhere.name), 404, "M_NOT_FOUND")
    assert elsewhere.received == []


def test_an_alias_of_another_server(alice: Client, elsewhere: Elsewhere, configure: Any) -> None:
    alias, other = (f"#{name}:{elsewhere.name}" for name in ("tea", "coffee"))
    elsewhere.aliases[alias] = elsewhere.id("tea")
    where = f"{V3}/directory/room/"
    found = ok(Client().get(where + segment(alias)))
    assert found == {"room_id": elsewhere.id("tea"), "servers": [elsewhere.name]}
    refused(alice.get(where + segment(other)), 404, "M_NOT_FOUND")
    configure(FEDERATION="off")
    refused(alice.get(where + segment(alias)), 404, "M_NOT_FOUND")


def test_a_signed_request_has_its_filter_in_the_body(alice: Client, elsewhere: Elsewhere) -> None:
    elsewhere.directory = lambda _: {"chunk": []}
    ok(alice.post(f"{WHERE}?server={elsewhere.name}", {"filter": {"generic_search_term": "ä"}}))
    (received,) = elsewhere.received
    assert json.loads(received.body)["filter"] == {"generic_search_term": "ä"}
    assert received.headers["authorization"].startswith("X-Matrix ")


def test_invites_show_nothing(alice: Client, bob: Client, peer: Peer) -> None:
    """A room that isn't published is not in the directory, whoever is invited."""
    room_id = create_room(alice, name="plover")
    invite(alice, room_id, bob)
    assert ours(peer, "plover")["chunk"] == []
