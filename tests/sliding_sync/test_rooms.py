"""Rooms in sliding sync: what comes at first, what comes later, and nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.in_process import Client, segment
from tests.rooms.people import (
    V3,
    create_room,
    invite,
    join,
    leave,
    ok,
    path,
    refused,
    send,
    set_state,
)
from tests.sliding_sync.client import ROOM_LIST, Sliding, all_rooms, bodies, opened, state_of

Make = Callable[..., Client]


class TestARoom:
    def test_comes_whole_at_first(self, alice: Client) -> None:
        room_id = create_room(alice, name="Lounge", topic="Talk")
        send(alice, room_id, "one")
        send(alice, room_id, "two")
        answer = Sliding(alice).sync()
        assert answer["lists"] == {"all": {"count": 1}}
        section = answer["rooms"][room_id]
        assert section["initial"] is True
        assert (section["name"], section["joined_count"], section["invited_count"]) == ("Lounge", 1, 0)
        assert bodies(section) == ["two"]
        assert (section["limited"], section["num_live"]) == (True, 0)
        state = state_of(section)
        assert state["m.room.topic", ""]["content"]["topic"] == "Talk"
        assert state["m.room.member", alice.user_id]["content"]["membership"] == "join"
        assert ("m.room.guest_access", "") not in state
        assert "room_id" not in section["timeline"][0]

    def test_comes_again_with_what_is_new_alone(self, alice: Client) -> None:
        room_id = create_room(alice, name="Lounge")
        sliding = Sliding(alice)
        sliding.sync()
        assert sliding.sync()["rooms"] == {}
        send(alice, room_id, "one")
        section = sliding.room(room_id)
        assert bodies(section) == ["one"]
        assert (section["limited"], section["num_live"]) == (False, 1)
        assert not {"initial", "name", "required_state", "joined_count"} & set(section)
        assert sliding.sync()["rooms"] == {}

    def test_says_what_it_leaves_out(self, alice: Client) -> None:
        room_id = create_room(alice)
        sliding = Sliding(alice)
        sliding.sync()
        for body in "abc":
            send(alice, room_id, body)
        section = sliding.room(room_id)
        assert (bodies(section), section["limited"], section["num_live"]) == (["c"], True, 1)
        page = ok(alice.get(path(room_id, "messages"), dir="b", **{"from": section["prev_batch"]}))
        assert [event["content"]["body"] for event in page["chunk"][:2]] == ["b", "a"]

    def test_changes_of_state_come_though_the_timeline_leaves_them_out(self, alice: Client) -> None:
        room_id = create_room(alice, name="Old")
        sliding = Sliding(alice)
        sliding.sync()
        set_state(alice, room_id, "m.room.name", {"name": "New"})
        set_state(alice, room_id, "m.room.guest_access", {"guest_access": "forbidden"})
        send(alice, room_id, "last")
        section = sliding.room(room_id)
        assert section["name"] == "New"
        assert list(state_of(section)) == [("m.room.name", "")]

    def test_a_name_that_is_gone_is_null(self, alice: Client) -> None:
        room_id = create_room(alice, name="Old")
        sliding = Sliding(alice)
        sliding.sync()
        set_state(alice, room_id, "m.room.name", {"name": ""})
        section = sliding.room(room_id)
        assert section["name"] is None
        assert section["heroes"] == []

    def test_without_a_name_heroes_come(self, alice: Client, bob: Client) -> None:
        ok(bob.put(f"{V3}/profile/{bob.user_id}/displayname", {"displayname": "Bob"}))
        room_id = create_room(alice, preset="public_chat")
        join(bob, room_id)
        section = Sliding(alice).room(room_id)
        assert "name" not in section
        assert section["heroes"] == [{"user_id": bob.user_id, "displayname": "Bob"}]
        assert section["joined_count"] == 2

    def test_members_come_with_the_events_they_are_needed_for_once(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, preset="public_chat")
        join(bob, room_id)
        send(alice, room_id, "mine")
        sliding = Sliding(alice)
        assert ("m.room.member", bob.user_id) not in state_of(sliding.room(room_id))
        send(bob, room_id, "his")
        assert ("m.room.member", bob.user_id) in state_of(sliding.room(room_id))
        send(bob, room_id, "more")
        assert "required_state" not in sliding.room(room_id)

    @pytest.mark.parametrize("at_once", [True, False])
    def test_who_was_renamed_in_a_gap_is_told_with_their_next_message(
        self, alice: Client, bob: Client, at_once: bool
    ) -> None:
        room_id = create_room(alice, preset="public_chat")
        join(bob, room_id)
        send(bob, room_id, "I am Bob")
        sliding, member = Sliding(alice), ("m.room.member", bob.user_id)
        assert member in state_of(sliding.room(room_id))
        ok(bob.put(f"{V3}/profile/{segment(bob.user_id)}/displayname", {"displayname": "Robert"}))
        for number in range(3):
            send(alice, room_id, str(number))
        if not at_once:
            assert sliding.room(room_id)["limited"] is True
        send(bob, room_id, "guess who")
        told = sliding.room(room_id)
        assert bodies(told) == ["guess who"]
        assert state_of(told)[member]["content"]["displayname"] == "Robert"
        send(bob, room_id, "once is enough")
        assert member not in state_of(sliding.room(room_id))

    def test_someone_who_comes_is_told_and_counted(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, preset="public_chat")
        sliding = Sliding(alice)
        sliding.sync()
        join(bob, room_id)
        section = sliding.room(room_id)
        assert section["joined_count"] == 2
        assert state_of(section)["m.room.member", bob.user_id]["content"]["membership"] == "join"
        leave(bob, room_id)
        assert sliding.room(room_id)["joined_count"] == 1

    def test_counts_what_is_unread(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, preset="public_chat")
        join(bob, room_id)
        sliding = Sliding(alice, extensions=ROOM_LIST)
        assert sliding.room(room_id)["notification_count"] == 0
        event_id = send(bob, room_id, "hello")
        section = sliding.room(room_id)
        assert (section["notification_count"], section["highlight_count"]) == (1, 0)
        ok(alice.post(path(room_id, "receipt", "m.read", event_id)))
        assert sliding.room(room_id)["notification_count"] == 0
        assert sliding.sync()["rooms"] == {}

    def test_is_a_direct_chat_when_the_account_says_so(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, preset="public_chat")
        sliding = Sliding(alice)
        assert "is_dm" not in sliding.room(room_id)
        direct = f"{V3}/user/{alice.user_id}/account_data/m.direct"
        ok(alice.put(direct, {bob.user_id: [room_id]}))
        assert sliding.room(room_id)["is_dm"] is True
        assert Sliding(alice, "other").room(room_id)["is_dm"] is True
        ok(alice.put(direct, {}))
        assert sliding.room(room_id)["is_dm"] is False


class TestOpening:
    def test_brings_the_timeline_that_the_list_left_out(self, alice: Client) -> None:
        room_id = create_room(alice)
        for body in "abc":
            send(alice, room_id, body)
        sliding = Sliding(alice)
        sliding.sync()
        sliding.subscriptions[room_id] = opened()
        section = sliding.room(room_id)
        assert section["unstable_expanded_timeline"] is True
        assert (bodies(section), section["num_live"]) == (["a", "b", "c"], 0)
        assert sliding.sync()["rooms"] == {}
        send(alice, room_id, "d")
        section = sliding.room(room_id)
        assert (bodies(section), section["num_live"]) == (["d"], 1)
        assert "unstable_expanded_timeline" not in section

    def test_brings_state_that_was_not_asked_for_before(self, alice: Client) -> None:
        room_id = create_room(alice)
        set_state(alice, room_id, "m.room.pinned_events", {"pinned": ["$x"]})
        sliding = Sliding(alice)
        sliding.sync()
        sliding.subscriptions[room_id] = opened(1)
        assert list(state_of(sliding.room(room_id))) == [("m.room.pinned_events", "")]
        assert sliding.sync()["rooms"] == {}

    def test_state_that_changed_while_it_was_closed_comes(self, alice: Client) -> None:
        room_id = create_room(alice)
        set_state(alice, room_id, "m.room.pinned_events", {"pinned": ["$x"]})
        sliding = Sliding(alice, subscriptions={room_id: opened()})
        sliding.sync()
        sliding.subscriptions = {}
        set_state(alice, room_id, "m.room.pinned_events", {"pinned": ["$y"]})
        assert ("m.room.pinned_events", "") not in state_of(sliding.room(room_id))
        sliding.subscriptions = {room_id: opened()}
        assert state_of(sliding.room(room_id))["m.room.pinned_events", ""]["content"] == {"pinned": ["$y"]}

    def test_a_gap_is_filled_by_it(self, alice: Client) -> None:
        room_id = create_room(alice)
        sliding = Sliding(alice, subscriptions={room_id: opened()})
        sliding.sync()
        sliding.subscriptions = {}
        for body in "abc":
            send(alice, room_id, body)
        assert bodies(sliding.room(room_id)) == ["c"]
        sliding.subscriptions = {room_id: opened()}
        assert bodies(sliding.room(room_id)) == ["a", "b", "c"]

    def test_a_room_that_is_not_the_users_is_ignored(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice)
        sliding = Sliding(bob, subscriptions={room_id: opened(), "!none:nowhere": opened(), "what": opened()})
        assert sliding.sync()["rooms"] == {}

    def test_without_any_list(self, alice: Client) -> None:
        room_id = create_room(alice)
        sliding = Sliding(alice, lists={}, subscriptions={room_id: opened()})
        answer = sliding.sync()
        assert (answer["lists"], list(answer["rooms"])) == ({}, [room_id])


class TestComingAndGoing:
    def test_an_invite_and_its_acceptance(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, name="Lounge")
        sliding = Sliding(bob)
        assert sliding.sync()["lists"]["all"]["count"] == 0
        invite(alice, room_id, bob)
        answer = sliding.sync()
        assert answer["lists"]["all"]["count"] == 1
        section = answer["rooms"][room_id]
        stripped = {(event["type"], event["state_key"]): event for event in section["invite_state"]}
        assert stripped["m.room.name", ""]["content"] == {"name": "Lounge"}
        assert stripped["m.room.member", bob.user_id]["sender"] == alice.user_id
        assert "timeline" not in section
        assert sliding.sync()["rooms"] == {}
        join(bob, room_id)
        section = sliding.room(room_id)
        assert section["initial"] is True
        assert section["name"] == "Lounge"

    def test_a_declined_invite(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice)
        sliding = Sliding(bob)
        invite(alice, room_id, bob)
        sliding.sync()
        leave(bob, room_id)
        answer = sliding.sync()
        assert answer["lists"]["all"]["count"] == 0
        own = state_of(answer["rooms"][room_id])["m.room.member", bob.user_id]
        assert own["content"]["membership"] == "leave"
        assert sliding.sync()["rooms"] == {}

    def test_leaving(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, preset="public_chat")
        join(bob, room_id)
        sliding = Sliding(bob)
        sliding.sync()
        leave(bob, room_id)
        send(alice, room_id, "behind his back")
        answer = sliding.sync()
        assert answer["lists"]["all"]["count"] == 0
        section = answer["rooms"][room_id]
        assert [event["type"] for event in section["timeline"]] == ["m.room.member"]
        assert state_of(section)["m.room.member", bob.user_id]["content"]["membership"] == "leave"
        assert sliding.sync()["rooms"] == {}
        assert Sliding(bob, "other").sync()["lists"]["all"]["count"] == 0

    def test_coming_back_is_a_beginning(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, preset="public_chat")
        join(bob, room_id)
        sliding = Sliding(bob)
        sliding.sync()
        leave(bob, room_id)
        send(alice, room_id, "meanwhile")
        join(bob, room_id)
        section = sliding.room(room_id)
        assert (section["initial"], section["limited"]) == (True, True)

    def test_a_kick_stays_in_the_list(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, preset="public_chat")
        join(bob, room_id)
        sliding = Sliding(bob)
        sliding.sync()
        ok(alice.post(path(room_id, "kick"), {"user_id": bob.user_id}))
        answer = sliding.sync()
        assert answer["lists"]["all"]["count"] == 1
        own = state_of(answer["rooms"][room_id])["m.room.member", bob.user_id]
        assert (own["content"]["membership"], own["sender"]) == ("leave", alice.user_id)
        assert room_id in Sliding(bob, "other").sync()["rooms"]
        assert sliding.sync()["rooms"] == {}

    def test_a_new_connection_is_told_what_the_room_was_that_they_were_removed_from(
        self, alice: Client, bob: Client
    ) -> None:
        room_id = create_room(alice, preset="public_chat", name="Lounge")
        join(bob, room_id)
        set_state(alice, room_id, "m.room.topic", {"topic": "then"})
        ok(alice.post(path(room_id, "ban"), {"user_id": bob.user_id}))
        for event_type, content in (("m.room.topic", {"topic": "now"}), ("m.room.name", {"name": "Other"})):
            set_state(alice, room_id, event_type, content)
        section = Sliding(bob).room(room_id)
        assert (section["initial"], section["name"], section["num_live"]) == (True, "Lounge", 0)
        state = state_of(section)
        assert state["m.room.topic", ""]["content"] == {"topic": "then"}
        assert state["m.room.member", bob.user_id]["content"]["membership"] == "ban"
        assert ("m.room.member", alice.user_id) in state, "who sent what is shown"
        assert ("m.room.guest_access", "") not in state

    def test_a_ban_after_a_kick_is_no_beginning(self, alice: Client, bob: Client) -> None:
        """The client keeps the room's name and other data, which it would drop for `initial`."""
        room_id = create_room(alice, preset="public_chat", name="Lounge")
        join(bob, room_id)
        sliding = Sliding(bob)
        sliding.sync()
        for action, membership in (("kick", "leave"), ("ban", "ban"), ("unban", "leave")):
            ok(alice.post(path(room_id, action), {"user_id": bob.user_id}))
            answer = sliding.sync()
            section = answer["rooms"][room_id]
            assert answer["lists"]["all"]["count"] == 1
            assert "initial" not in section
            own = state_of(section)["m.room.member", bob.user_id]
            assert own["content"]["membership"] == membership
            assert len(section["timeline"]) == 1
            assert sliding.sync()["rooms"] == {}

    def test_who_was_kicked_and_then_banned_is_told_what_the_room_was_when_they_were_in_it(
        self, alice: Client, bob: Client
    ) -> None:
        room_id = create_room(alice, preset="public_chat", name="Lounge")
        join(bob, room_id)
        ok(alice.post(path(room_id, "kick"), {"user_id": bob.user_id}))
        set_state(alice, room_id, "m.room.name", {"name": "Other"})
        send(alice, room_id, "secret")
        ok(alice.post(path(room_id, "ban"), {"user_id": bob.user_id}))
        section = Sliding(bob, subscriptions={room_id: opened(20)}).room(room_id)
        assert (section["initial"], section["name"]) == (True, "Lounge")
        assert bodies(section) == []
        state = state_of(section)
        assert state["m.room.name", ""]["content"] == {"name": "Lounge"}
        assert state["m.room.member", bob.user_id]["content"]["membership"] == "ban"

    def test_who_was_never_in_the_room_is_told_no_state(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, name="Lounge")
        sliding = Sliding(bob)
        invite(alice, room_id, bob)
        sliding.sync()
        ok(alice.post(path(room_id, "ban"), {"user_id": bob.user_id}))
        section = sliding.room(room_id)
        assert "name" not in section
        assert set(state_of(section)) == {("m.room.member", bob.user_id)}

    def test_leaving_and_forgetting_at_once(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, preset="public_chat")
        join(bob, room_id)
        sliding = Sliding(bob)
        sliding.sync()
        leave(bob, room_id)
        ok(bob.post(path(room_id, "forget")))
        own = state_of(sliding.room(room_id))["m.room.member", bob.user_id]
        assert own["content"]["membership"] == "leave"
        assert sliding.sync()["rooms"] == {}

    def test_invites_of_ignored_users_are_not_shown(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice)
        ignored: dict[str, Any] = {"ignored_users": {alice.user_id: {}}}
        ok(bob.put(f"{V3}/user/{bob.user_id}/account_data/m.ignored_user_list", ignored))
        invite(alice, room_id, bob)
        answer = Sliding(bob).sync()
        assert (answer["lists"]["all"]["count"], answer["rooms"]) == (0, {})


class TestBadRequests:
    @pytest.mark.parametrize(
        ("body", "errcode"),
        [
            ({"lists": []}, "M_BAD_JSON"),
            ({"lists": {"a": []}}, "M_BAD_JSON"),
            ({"lists": {"a": all_rooms(ranges=[[3, 1]])}}, "M_INVALID_PARAM"),
            ({"lists": {"a": all_rooms(ranges=[[0]])}}, "M_BAD_JSON"),
            ({"lists": {"a": all_rooms(ranges=[[-1, 3]])}}, "M_INVALID_PARAM"),
            ({"lists": {"a": all_rooms(required_state=[["x"]])}}, "M_BAD_JSON"),
            ({"lists": {"a": all_rooms(required_state=[["x", "y"]] * 201)}}, "M_INVALID_PARAM"),
            ({"lists": {"a": all_rooms(timeline_limit="1")}}, "M_BAD_JSON"),
            ({"lists": {"a": all_rooms(filters={"is_dm": 1})}}, "M_BAD_JSON"),
            ({"lists": {str(number): all_rooms() for number in range(101)}}, "M_INVALID_PARAM"),
            ({"room_subscriptions": {"!a:b": 1}}, "M_BAD_JSON"),
            ({"conn_id": "x" * 256}, "M_INVALID_PARAM"),
            ({"conn_id": 1}, "M_BAD_JSON"),
            ({"extensions": {"to_device": {"enabled": True, "since": "x"}}}, "M_INVALID_PARAM"),
            ({"extensions": {"to_device": 1}}, "M_BAD_JSON"),
        ],
    )
    def test_are_refused(self, alice: Client, body: Any, errcode: str) -> None:
        refused(Sliding(alice).ask(body), 400, errcode)

    def test_a_timeout_is_a_number(self, alice: Client) -> None:
        refused(Sliding(alice).ask(timeout="soon"), 400, "M_INVALID_PARAM")

    def test_a_token_is_needed(self, alice: Client) -> None:
        refused(Sliding(Client()).ask(), 401, "M_MISSING_TOKEN")
        refused(Sliding(Client(token="mu_nonsense")).ask(), 401, "M_UNKNOWN_TOKEN")
