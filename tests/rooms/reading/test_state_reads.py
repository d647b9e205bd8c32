"""Reading state and members: now, at a token, and as it was when the reader left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration.cache import LruCache
from murmuration.rooms import current_state
from tests.in_process import Client
from tests.rooms.people import (
    V3,
    create_room,
    invite,
    join,
    leave,
    messages,
    ok,
    path,
    redact,
    refused,
    send,
    set_state,
)

MakeClient = Callable[..., Client]


def state_of(client: Client, room_id: str) -> dict[tuple[str, str], Any]:
    events = ok(client.get(path(room_id, "state")))
    return {(event["type"], event["state_key"]): event["content"] for event in events}


def memberships(answer: Any) -> dict[str, str]:
    return {event["state_key"]: event["content"]["membership"] for event in ok(answer)["chunk"]}


class TestState:
    def test_whole_state(self, alice: Client) -> None:
        room_id = create_room(alice, name="A room", topic="Things")
        events = ok(alice.get(path(room_id, "state")))
        assert all(event["room_id"] == room_id and "event_id" in event for event in events)
        state = state_of(alice, room_id)
        assert state["m.room.name", ""] == {"name": "A room"}
        assert state["m.room.member", alice.user_id]["membership"] == "join"
        assert len(state) == len(events) == 8

    def test_one_piece(self, alice: Client) -> None:
        room_id = create_room(alice, name="A room")
        event_id = set_state(alice, room_id, "org.example.thing", {"n": 1}, "a key/with #~")
        set_state(alice, room_id, "org.example#odd", {"n": 2})
        assert ok(alice.get(path(room_id, "state", "m.room.name"))) == {"name": "A room"}
        assert ok(alice.get(path(room_id, "state", "m.room.name") + "/")) == {"name": "A room"}
        assert ok(alice.get(path(room_id, "state", "org.example.thing", "a key/with #~"))) == {"n": 1}
        assert ok(alice.get(path(room_id, "state", "org.example#odd"))) == {"n": 2}
        where = path(room_id, "state", "org.example.thing", "a key/with #~")
        event = ok(alice.get(where, format="event"))
        assert (event["event_id"], event["content"], event["type"]) == (
            event_id,
            {"n": 1},
            "org.example.thing",
        )
        assert (event["sender"], event["room_id"]) == (alice.user_id, room_id)

    def test_event_form_tells_what_was_replaced(self, alice: Client) -> None:
        room_id = create_room(alice, name="before")
        set_state(alice, room_id, "m.room.name", {"name": "after"})
        event = ok(alice.get(path(room_id, "state", "m.room.name"), format="event"))
        assert event["unsigned"]["prev_content"] == {"name": "before"}

    def test_redacted_state_stays_without_content(self, alice: Client) -> None:
        room_id = create_room(alice)
        event_id = set_state(alice, room_id, "m.room.topic", {"topic": "secret"})
        redact(alice, room_id, event_id)
        assert ok(alice.get(path(room_id, "state", "m.room.topic"))) == {}
        event = ok(alice.get(path(room_id, "state", "m.room.topic"), format="event"))
        assert "redacted_because" in event["unsigned"]

    def test_what_was_redacted_is_not_shown_as_replaced(self, alice: Client) -> None:
        room_id = create_room(alice)
        event_id = set_state(alice, room_id, "m.room.topic", {"topic": "secret"})
        set_state(alice, room_id, "m.room.topic", {"topic": "harmless"})
        set_state(alice, room_id, "m.room.topic", {"topic": "newer"})
        redact(alice, room_id, event_id)
        assert "secret" not in alice.get(path(room_id, "messages"), dir="b").body.decode()

    def test_errors(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice)
        refused(alice.get(path(room_id, "state", "m.room.name")), 404, "M_NOT_FOUND")
        refused(alice.get(path(room_id, "state", "x" * 300)), 404, "M_NOT_FOUND")
        refused(alice.get(path(room_id, "state", "m.room.name"), format="x"), 400, "M_INVALID_PARAM")
        for where in ("state", "members", "joined_members", "aliases"):
            refused(bob.get(path(room_id, where)), 403, "M_FORBIDDEN")
            refused(bob.get(path("!unknown:example.org", where)), 403, "M_FORBIDDEN")
        refused(bob.get(path(room_id, "state", "m.room.create")), 403, "M_FORBIDDEN")
        invite(alice, room_id, bob)
        refused(bob.get(path(room_id, "state")), 403, "M_FORBIDDEN")

    def test_those_who_left_see_the_state_of_then(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, preset="public_chat", name="then")
        join(bob, room_id)
        leave(bob, room_id)
        set_state(alice, room_id, "m.room.name", {"name": "now"})
        set_state(alice, room_id, "m.room.topic", {"topic": "new"})
        state = state_of(bob, room_id)
        assert state["m.room.name", ""] == {"name": "then"}
        assert ("m.room.topic", "") not in state
        assert state["m.room.member", bob.user_id]["membership"] == "leave"
        assert ok(bob.get(path(room_id, "state", "m.room.name"))) == {"name": "then"}
        refused(bob.get(path(room_id, "state", "m.room.topic")), 404, "M_NOT_FOUND")
        own = ok(bob.get(path(room_id, "state", "m.room.member", bob.user_id)))
        assert own["membership"] == "leave"
        refused(bob.get(path(room_id, "joined_members")), 403, "M_FORBIDDEN")

    def test_anyone_reads_a_world_readable_room(self, alice: Client, bob: Client) -> None:
        visible = {"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}}
        room_id = create_room(alice, initial_state=[visible], name="open")
        assert state_of(bob, room_id)["m.room.name", ""] == {"name": "open"}
        assert ok(bob.get(path(room_id, "state", "m.room.name"))) == {"name": "open"}
        assert memberships(bob.get(path(room_id, "members"))) == {alice.user_id: "join"}
        assert ok(bob.get(path(room_id, "aliases"))) == {"aliases": []}
        refused(bob.get(path(room_id, "joined_members")), 403, "M_FORBIDDEN")

    def test_large_state_at_an_earlier_time(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, preset="public_chat")
        for number in range(60):
            set_state(alice, room_id, "org.example.n", {"n": number}, str(number))
        join(bob, room_id)
        leave(bob, room_id)
        for number in range(0, 60, 2):
            set_state(alice, room_id, "org.example.n", {"n": "later"}, str(number))
        state = state_of(bob, room_id)
        found = {key: content["n"] for (kind, key), content in state.items() if kind == "org.example.n"}
        assert found == {str(number): number for number in range(60)}


def first_prev_batch(client: Client, room_id: str) -> str:
    """Return the token at the beginning of a first sync's timeline, which has all of the room."""
    answer = ok(client.get("/_matrix/client/v3/sync", filter='{"room": {"timeline": {"limit": 50}}}'))
    return str(answer["rooms"]["join"][room_id]["timeline"]["prev_batch"])


class TestMembers:
    def test_members_by_membership(self, alice: Client, make_client: MakeClient) -> None:
        room_id = create_room(alice)
        bob, carol, dave = (make_client(name) for name in ("bob", "carol", "dave"))
        for other in (bob, carol, dave):
            invite(alice, room_id, other)
        join(bob, room_id)
        leave(carol, room_id)
        everyone = {
            alice.user_id: "join",
            bob.user_id: "join",
            carol.user_id: "leave",
            dave.user_id: "invite",
        }
        where = path(room_id, "members")
        assert memberships(alice.get(where)) == everyone
        joined = memberships(alice.get(where, membership="join"))
        assert set(joined) == {alice.user_id, bob.user_id}
        present = memberships(alice.get(where, not_membership="leave"))
        assert set(present) == {alice.user_id, bob.user_id, dave.user_id}
        either = memberships(alice.get(where, membership="leave", not_membership="join"))
        assert set(either) == {carol.user_id, dave.user_id}
        refused(alice.get(where, membership="absent"), 400, "M_INVALID_PARAM")

    def test_members_at_a_token(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, preset="public_chat")
        send(alice, room_id, "before")
        before = messages(alice, room_id)["start"]
        join(bob, room_id)
        after = messages(alice, room_id)["start"]
        leave(bob, room_id)
        where = path(room_id, "members")
        assert memberships(alice.get(where, at=before)) == {alice.user_id: "join"}
        assert memberships(alice.get(where, at=after)) == {alice.user_id: "join", bob.user_id: "join"}
        assert memberships(alice.get(where))[bob.user_id] == "leave"
        refused(alice.get(where, at="nonsense"), 400, "M_INVALID_PARAM")
        refused(alice.get(where, at="t-5"), 400, "M_INVALID_PARAM")

    @pytest.mark.parametrize("visibility", ["joined", "invited", "shared"])
    def test_members_of_a_time_that_one_may_not_see(
        self, alice: Client, bob: Client, visibility: str
    ) -> None:
        rule = {"type": "m.room.history_visibility", "content": {"history_visibility": visibility}}
        room_id = create_room(alice, preset="public_chat", initial_state=[rule])
        send(alice, room_id, "before")
        before = messages(alice, room_id)["start"]
        join(bob, room_id)
        then = bob.get(path(room_id, "members"), at=before)
        if visibility == "shared":
            assert memberships(then) == {alice.user_id: "join"}
        else:
            refused(then, 403, "M_FORBIDDEN")
        now = messages(bob, room_id)["start"]
        assert set(memberships(bob.get(path(room_id, "members"), at=now))) == {alice.user_id, bob.user_id}

    def test_members_before_the_first_event(self, alice: Client) -> None:
        room_id = create_room(alice)
        beginning = messages(alice, room_id, "b", limit=100)["end"]
        assert memberships(alice.get(path(room_id, "members"), at=beginning)) == {}

    def test_members_at_the_prev_batch_of_a_first_sync(
        self, alice: Client, bob: Client, make_client: MakeClient
    ) -> None:
        room_id = create_room(alice, preset="public_chat")
        join(bob, room_id)
        token = first_prev_batch(alice, room_id)
        join(make_client("carol"), room_id)
        leave(bob, room_id)
        where = path(room_id, "members")
        assert memberships(alice.get(where, at=token)) == {alice.user_id: "join", bob.user_id: "join"}
        joined = alice.get(where, at=token, not_membership="leave")
        assert set(memberships(joined)) == {alice.user_id, bob.user_id}
        assert messages(alice, room_id, "b", **{"from": token})["chunk"] == []
        assert (
            messages(alice, room_id, "f", limit=1, **{"from": token})["chunk"][0]["type"] == "m.room.create"
        )
        few = ok(alice.get("/_matrix/client/v3/sync", filter='{"room": {"timeline": {"limit": 1}}}'))
        token = few["rooms"]["join"][room_id]["timeline"]["prev_batch"]
        assert len(memberships(alice.get(where, at=token))) == 3
        refused(alice.get(where, at="t0."), 400, "M_INVALID_PARAM")

    def test_members_at_the_prev_batch_where_the_past_is_hidden(
        self, alice: Client, bob: Client, make_client: MakeClient
    ) -> None:
        rule = {"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}
        room_id = create_room(alice, preset="public_chat", initial_state=[rule])
        join(bob, room_id)
        token = first_prev_batch(bob, room_id)
        join(make_client("carol"), room_id)
        found = memberships(bob.get(path(room_id, "members"), at=token))
        assert set(found) == {alice.user_id, bob.user_id}

    def test_those_who_left_see_the_members_of_then(
        self, alice: Client, bob: Client, make_client: MakeClient
    ) -> None:
        room_id = create_room(alice, preset="public_chat")
        join(bob, room_id)
        leave(bob, room_id)
        join(make_client("carol"), room_id)
        now = messages(alice, room_id)["start"]
        expected = {alice.user_id: "join", bob.user_id: "leave"}
        assert memberships(bob.get(path(room_id, "members"))) == expected
        assert memberships(bob.get(path(room_id, "members"), at=now)) == expected

    def test_joined_members(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice)
        invite(alice, room_id, bob)
        content = {"membership": "join", "displayname": "Al", "avatar_url": "mxc://example.org/a"}
        set_state(alice, room_id, "m.room.member", content, alice.user_id)
        assert ok(alice.get(path(room_id, "joined_members")))["joined"] == {
            alice.user_id: {"display_name": "Al", "avatar_url": "mxc://example.org/a"}
        }
        join(bob, room_id)
        set_state(bob, room_id, "m.room.member", {"membership": "join", "displayname": "Bob"}, bob.user_id)
        joined = ok(alice.get(path(room_id, "joined_members")))["joined"]
        assert joined[bob.user_id] == {"display_name": "Bob", "avatar_url": None}

    def test_joined_rooms(self, alice: Client, bob: Client) -> None:
        first, second = create_room(alice), create_room(alice)
        invite(alice, first, bob)
        assert set(ok(alice.get(f"{V3}/joined_rooms"))["joined_rooms"]) == {first, second}
        assert ok(bob.get(f"{V3}/joined_rooms")) == {"joined_rooms": []}
        leave(alice, second)
        assert ok(alice.get(f"{V3}/joined_rooms")) == {"joined_rooms": [first]}


class TestRemembered:
    """A warm process remembers a room's state; each answer is of the state that there is."""

    def test_state_that_changes(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, preset="public_chat", name="One")
        for name in ("One", "Two"):
            set_state(alice, room_id, "m.room.name", {"name": name})
            for _ in range(2):
                assert state_of(alice, room_id)["m.room.name", ""] == {"name": name}
        assert memberships(alice.get(path(room_id, "members"))) == {alice.user_id: "join"}
        join(bob, room_id)
        expected = {alice.user_id: "join", bob.user_id: "join"}
        for _ in range(2):
            assert memberships(bob.get(path(room_id, "members"))) == expected
            assert ok(bob.get(path(room_id, "joined_members")))["joined"].keys() == expected.keys()
        leave(bob, room_id)
        for _ in range(2):
            assert memberships(alice.get(path(room_id, "members"))) == {**expected, bob.user_id: "leave"}
            assert ok(alice.get(path(room_id, "joined_members")))["joined"].keys() == {alice.user_id}

    def test_state_that_is_redacted(self, alice: Client) -> None:
        room_id = create_room(alice)
        event_id = set_state(alice, room_id, "m.room.topic", {"topic": "Things"})
        assert state_of(alice, room_id)["m.room.topic", ""] == {"topic": "Things"}
        redact(alice, room_id, event_id)
        assert state_of(alice, room_id)["m.room.topic", ""] == {}

    @pytest.mark.parametrize("first", ["members", "state", "joined_members"])
    def test_whatever_was_read_first(self, alice: Client, first: str) -> None:
        room_id = create_room(alice, name="A room")
        set_state(alice, room_id, "a.before", {})
        set_state(alice, room_id, "z.after", {})
        ok(alice.get(path(room_id, first)))
        events = ok(alice.get(path(room_id, "state")))
        kinds = [event["type"] for event in events]
        assert kinds == sorted(kinds)
        assert {"a.before", "m.room.member", "z.after"} <= {*kinds}
        current_state._remembered.clear()
        again = ok(alice.get(path(room_id, "state")))
        unsigned = [event.pop("unsigned").keys() for event in (*events, *again)]
        assert unsigned == [{"age"}] * 2 * len(events)
        assert events == again


def test_a_room_of_too_much_state_is_not_remembered() -> None:
    cache: LruCache[str, str] = LruCache(10)
    cache.put("large", "x", 6)
    assert cache.get("large") is None
    for name in ("a", "b", "c"):
        cache.put(name, name, 5)
    assert [cache.get(name) for name in ("a", "b", "c")] == [None, "b", "c"]
    cache.get("b")
    cache.put("d", "d", 1)
    cache.put("b", "b", 2)
    assert [cache.get(name) for name in ("b", "c", "d")] == ["b", None, "d"]
