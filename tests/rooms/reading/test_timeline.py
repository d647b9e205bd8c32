"""Reading timelines: pages, single events, contexts."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.in_process import Client, segment
from tests.rooms.people import (
    V3,
    bodies,
    create_room,
    event_ids,
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


def read_all(client: Client, room_id: str, direction: str, **query: Any) -> list[dict[str, Any]]:
    """Return every event, page by page until no token is given."""
    events: list[dict[str, Any]] = []
    token = None
    for _ in range(200):
        page = messages(client, room_id, direction, **query, **({"from": token} if token else {}))
        events += page["chunk"]
        if "end" not in page:
            return events
        token = page["end"]
    raise AssertionError("the pages don't end")


class TestMessages:
    @pytest.mark.parametrize("limit", [1, 3, 7, 100])
    def test_pages_cover_everything_once_in_both_directions(self, alice: Client, limit: int) -> None:
        room_id = create_room(alice)
        sent = [send(alice, room_id, f"message {number}") for number in range(8)]
        forward = event_ids(read_all(alice, room_id, "f", limit=limit))
        backward = event_ids(read_all(alice, room_id, "b", limit=limit))
        assert forward == backward[::-1]
        assert len(set(forward)) == len(forward)
        assert forward[-8:] == sent
        first = messages(alice, room_id, "f", limit=1)["chunk"][0]
        assert first["type"] == "m.room.create"
        assert first["room_id"] == room_id

    def test_page_goes_on_where_the_token_says_in_either_direction(self, alice: Client) -> None:
        room_id = create_room(alice)
        for number in range(6):
            send(alice, room_id, str(number))
        page = messages(alice, room_id, limit=2)
        assert bodies(page["chunk"]) == ["5", "4"]
        back = messages(alice, room_id, limit=2, **{"from": page["end"]})
        assert bodies(back["chunk"]) == ["3", "2"]
        assert back["start"] == page["end"]
        again = messages(alice, room_id, "f", **{"from": page["end"]})
        assert bodies(again["chunk"]) == ["4", "5"]
        send(alice, room_id, "6")
        later = messages(alice, room_id, "f", **{"from": again["end"]})
        assert bodies(later["chunk"]) == ["6"]

    def test_to_ends_the_page(self, alice: Client) -> None:
        room_id = create_room(alice)
        for number in range(6):
            send(alice, room_id, str(number))
        middle = messages(alice, room_id, limit=3)["end"]
        page = messages(alice, room_id, to=middle)
        assert bodies(page["chunk"]) == ["5", "4", "3"]
        after = messages(alice, room_id, to=middle, **{"from": page["end"]})
        assert (after["chunk"], "end" in after) == ([], False)
        page = messages(alice, room_id, "f", to=middle)
        assert bodies(page["chunk"]) == ["0", "1", "2"]

    def test_sync_tokens_are_positions_too(self, alice: Client) -> None:
        room_id = create_room(alice)
        send(alice, room_id, "0")
        token = ok(alice.get(f"{V3}/sync", timeout=0))["next_batch"]
        send(alice, room_id, "1")
        back = messages(alice, room_id, limit=1, **{"from": token})
        assert bodies(back["chunk"]) == ["0"]
        forward = messages(alice, room_id, "f", **{"from": token})
        assert bodies(forward["chunk"]) == ["1"]
        members = ok(alice.get(path(room_id, "members"), at=token))
        assert len(members["chunk"]) == 1

    def test_sync_tokens_from_after_leaving(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, preset="public_chat")
        join(bob, room_id)
        send(alice, room_id, "seen")
        leave(bob, room_id)
        send(alice, room_id, "unseen")
        token = ok(bob.get(f"{V3}/sync"))["next_batch"]
        assert bodies(messages(bob, room_id, "b", **{"from": token})["chunk"]) == ["seen"]
        assert messages(bob, room_id, "f", **{"from": token})["chunk"] == []
        members = ok(bob.get(path(room_id, "members"), at=token, not_membership="leave"))["chunk"]
        assert [event["state_key"] for event in members] == [alice.user_id]
        elsewhere = create_room(alice)
        refused(alice.get(path(elsewhere, "messages"), dir="b", **{"from": token}), 400, "M_INVALID_PARAM")

    def test_filter_by_type_and_sender(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, preset="public_chat")
        join(bob, room_id)
        for number in range(3):
            send(alice, room_id, f"a{number}")
            send(bob, room_id, f"b{number}")
            send(bob, room_id, {"n": number}, "org.example.other")
        wanted = json.dumps({"types": ["m.room.message"], "senders": [bob.user_id]})
        events = read_all(alice, room_id, "b", filter=wanted, limit=2)
        assert bodies(events) == ["b2", "b1", "b0"]
        nothing = messages(alice, room_id, filter=json.dumps({"types": []}))
        assert (nothing["chunk"], "end" in nothing) == ([], False)
        elsewhere = messages(alice, room_id, filter=json.dumps({"not_rooms": [room_id]}))
        assert elsewhere["chunk"] == []

    def test_filter_finds_what_is_far_away(self, alice: Client) -> None:
        room_id = create_room(alice)
        wanted = send(alice, room_id, {}, "org.example.rare")
        for number in range(130):
            send(alice, room_id, str(number))
        found = read_all(alice, room_id, "b", filter=json.dumps({"types": ["org.example.rare"]}))
        assert event_ids(found) == [wanted]

    def test_filter_by_relations(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, preset="public_chat")
        join(bob, room_id)
        plain, replied, liked = (send(alice, room_id, text) for text in ("plain", "replied", "liked"))
        for parent, rel_type, sender in ((replied, "m.thread", bob), (liked, "org.example.like", alice)):
            relation = {"rel_type": rel_type, "event_id": parent}
            send(sender, room_id, {"msgtype": "m.text", "body": "x", "m.relates_to": relation})

        def matching(**wanted: Any) -> list[str]:
            return event_ids(messages(alice, room_id, filter=json.dumps(wanted))["chunk"])

        assert matching(related_by_rel_types=["m.thread"]) == [replied]
        assert matching(related_by_rel_types=["org.example.like"]) == [liked]
        assert matching(related_by_senders=[bob.user_id]) == [replied]
        assert matching(related_by_senders=[alice.user_id], related_by_rel_types=["m.thread"]) == []
        assert plain not in matching(related_by_senders=[alice.user_id, bob.user_id])

    def test_lazy_loading_gives_the_senders_as_they_were(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, preset="public_chat")
        join(bob, room_id)
        send(bob, room_id, "one")
        before = messages(alice, room_id, limit=1)["start"]
        set_state(bob, room_id, "m.room.member", {"membership": "join", "displayname": "Robert"}, bob.user_id)
        send(bob, room_id, "two")
        lazy = json.dumps({"lazy_load_members": True, "types": ["m.room.message"]})
        page = messages(alice, room_id, limit=1, filter=lazy)
        assert [(e["state_key"], e["content"]["displayname"]) for e in page["state"]] == [
            (bob.user_id, "Robert")
        ]
        page = messages(alice, room_id, limit=1, filter=lazy, **{"from": before})
        assert bodies(page["chunk"]) == ["one"]
        assert [(e["state_key"], e["content"]["displayname"]) for e in page["state"]] == [
            (bob.user_id, "bob")
        ]
        assert "state" not in messages(alice, room_id)

    def test_bad_requests(self, alice: Client) -> None:
        room_id = create_room(alice)
        refused(alice.get(path(room_id, "messages")), 400, "M_MISSING_PARAM")
        for query, errcode in (
            ({"dir": "x"}, "M_INVALID_PARAM"),
            ({"dir": "b", "from": "nonsense"}, "M_INVALID_PARAM"),
            ({"dir": "b", "from": "s_abcdefghij"}, "M_INVALID_PARAM"),
            ({"dir": "b", "to": "t"}, "M_INVALID_PARAM"),
            ({"dir": "b", "limit": "many"}, "M_INVALID_PARAM"),
            ({"dir": "b", "limit": "-1"}, "M_INVALID_PARAM"),
            ({"dir": "b", "filter": "{"}, "M_NOT_JSON"),
            ({"dir": "b", "filter": "[]"}, "M_BAD_JSON"),
        ):
            refused(alice.get(path(room_id, "messages"), **query), 400, errcode)

    def test_strangers_and_unknown_rooms(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice)
        refused(bob.get(path(room_id, "messages"), dir="b"), 403, "M_FORBIDDEN")
        refused(bob.get(path("!unknown:example.org", "messages"), dir="b"), 403, "M_FORBIDDEN")
        refused(bob.get(path("!" + "x" * 300, "messages"), dir="b"), 403, "M_FORBIDDEN")
        nobody = Client("mma_bad.token.x.00000000")
        refused(nobody.get(path(room_id, "messages"), dir="b"), 401, "M_UNKNOWN_TOKEN")
        refused(Client().get(path(room_id, "messages"), dir="b"), 401, "M_MISSING_TOKEN")

    def test_transaction_id_is_shown_to_the_sending_device_alone(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, preset="public_chat")
        join(bob, room_id)
        ok(alice.put(path(room_id, "send", "m.room.message", "mine"), {"msgtype": "m.text", "body": "x"}))
        mine = messages(alice, room_id, limit=1)["chunk"][0]
        assert mine["unsigned"]["transaction_id"] == "mine"
        theirs = messages(bob, room_id, limit=1)["chunk"][0]
        assert "transaction_id" not in theirs["unsigned"]

    def test_redacted_event_is_shown_without_content(self, alice: Client) -> None:
        room_id = create_room(alice)
        event_id = send(alice, room_id, "secret")
        redaction = redact(alice, room_id, event_id)
        newest, redacted = messages(alice, room_id, limit=2)["chunk"]
        assert newest["event_id"] == redaction
        assert newest["redacts"] == newest["content"]["redacts"] == event_id
        assert redacted["content"] == {}
        because = redacted["unsigned"]["redacted_because"]
        assert (because["event_id"], because["redacts"]) == (redaction, event_id)

    def test_state_events_tell_what_they_replaced(self, alice: Client) -> None:
        room_id = create_room(alice, name="before")
        set_state(alice, room_id, "m.room.name", {"name": "after"})
        unsigned = messages(alice, room_id, limit=1)["chunk"][0]["unsigned"]
        assert unsigned["prev_content"] == {"name": "before"}
        assert unsigned["replaces_state"].startswith("$")
        assert unsigned["membership"] == "join"

    def test_ignored_senders_are_left_out_but_for_state(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, preset="public_chat", power_level_content_override={"state_default": 0})
        join(bob, room_id)
        hidden = send(bob, room_id, "noise")
        shown = set_state(bob, room_id, "org.example.state", {})
        ignored: dict[str, Any] = {"ignored_users": {bob.user_id: {}}}
        ok(alice.put(f"{V3}/user/{segment(alice.user_id)}/account_data/m.ignored_user_list", ignored))
        seen = event_ids(messages(alice, room_id)["chunk"])
        assert hidden not in seen
        assert shown in seen
        refused(alice.get(path(room_id, "event", hidden)), 404, "M_NOT_FOUND")
        assert hidden in event_ids(messages(bob, room_id)["chunk"])

    def test_large_events_don_t_overflow_a_response(self, alice: Client) -> None:
        room_id = create_room(alice)
        for number in range(70):
            send(alice, room_id, f"{number} " + "x" * 60_000)
        answer = alice.get(path(room_id, "messages"), dir="b", limit=250)
        assert len(answer.body) < 6_000_000
        assert len(bodies(read_all(alice, room_id, "b", limit=250))) == 70


class TestOneEvent:
    def test_event(self, alice: Client, bob: Client) -> None:
        room_id, other_room = create_room(alice), create_room(alice)
        event_id = send(alice, room_id, "hello")
        event = ok(alice.get(path(room_id, "event", event_id)))
        assert event["content"]["body"] == "hello"
        assert event["room_id"] == room_id
        assert event["unsigned"]["age"] >= 0
        refused(alice.get(path(room_id, "event", "$unknown")), 404, "M_NOT_FOUND")
        refused(alice.get(path(room_id, "event", "$" + "x" * 300)), 404, "M_NOT_FOUND")
        refused(alice.get(path(other_room, "event", event_id)), 404, "M_NOT_FOUND")
        refused(alice.get(path("!unknown:example.org", "event", event_id)), 404, "M_NOT_FOUND")
        refused(bob.get(path(room_id, "event", event_id)), 404, "M_NOT_FOUND")

    def test_context(self, alice: Client) -> None:
        room_id = create_room(alice, name="old name")
        sent = [send(alice, room_id, str(number)) for number in range(7)]
        set_state(alice, room_id, "m.room.name", {"name": "new name"})
        context = ok(alice.get(path(room_id, "context", sent[3]), limit=4))
        assert context["event"]["event_id"] == sent[3]
        assert event_ids(context["events_before"]) == [sent[2], sent[1]]
        assert event_ids(context["events_after"]) == [sent[4], sent[5]]
        names = [event for event in context["state"] if event["type"] == "m.room.name"]
        assert [event["content"]["name"] for event in names] == ["old name"]
        assert len(context["state"]) == 7
        before = messages(alice, room_id, limit=1, **{"from": context["start"]})
        assert event_ids(before["chunk"]) == [sent[0]]
        after = messages(alice, room_id, "f", limit=1, **{"from": context["end"]})
        assert event_ids(after["chunk"]) == [sent[6]]

    def test_context_with_filter_and_lazy_loading(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, preset="public_chat")
        join(bob, room_id)
        middle = send(alice, room_id, "middle")
        send(alice, room_id, {}, "org.example.other")
        send(alice, room_id, "after")
        wanted = json.dumps({"types": ["m.room.m*"], "lazy_load_members": True})
        context = ok(alice.get(path(room_id, "context", middle), limit=1, filter=wanted))
        assert bodies(context["events_after"]) == ["after"]
        assert [(event["type"], event["state_key"]) for event in context["state"]] == [
            ("m.room.member", alice.user_id)
        ]
        only = ok(alice.get(path(room_id, "context", middle), limit=0))
        assert (only["events_before"], only["events_after"]) == ([], [])
        refused(bob.get(path(room_id, "context", "$unknown")), 404, "M_NOT_FOUND")
        secret = create_room(alice)
        refused(bob.get(path(secret, "context", send(alice, secret))), 403, "M_FORBIDDEN")
        refused(bob.get(path("!unknown:example.org", "context", middle)), 403, "M_FORBIDDEN")
        refused(bob.get(path(room_id, "context", middle), limit="x"), 400, "M_INVALID_PARAM")

    def test_context_at_the_edges(self, alice: Client) -> None:
        room_id = create_room(alice)
        newest = send(alice, room_id, "newest")
        context = ok(alice.get(path(room_id, "context", newest)))
        assert context["events_after"] == []
        later = send(alice, room_id, "later")
        after = messages(alice, room_id, "f", **{"from": context["end"]})
        assert event_ids(after["chunk"]) == [later]
        create = messages(alice, room_id, "f", limit=1)["chunk"][0]["event_id"]
        context = ok(alice.get(path(room_id, "context", create)))
        assert context["events_before"] == []
        assert messages(alice, room_id, **{"from": context["start"]})["chunk"] == []


HIDDEN, EARLY, INVITED, JOINED, LATE = "before", "invited", "joined", "left", "back"


class TestHistoryVisibility:
    """Messages sent before bob was invited, while invited, while joined, after leaving; who sees which."""

    def room(self, alice: Client, bob: Client, visibility: str) -> str:
        state = [{"type": "m.room.history_visibility", "content": {"history_visibility": visibility}}]
        room_id = create_room(alice, initial_state=state)
        send(alice, room_id, "before")
        invite(alice, room_id, bob)
        send(alice, room_id, "invited")
        return room_id

    @pytest.mark.parametrize(
        ("visibility", "seen"),
        [
            ("world_readable", ["before", "invited", "joined"]),
            ("shared", ["before", "invited", "joined"]),
            ("invited", ["invited", "joined"]),
            ("joined", ["joined"]),
        ],
    )
    def test_members(self, alice: Client, bob: Client, visibility: str, seen: list[str]) -> None:
        room_id = self.room(alice, bob, visibility)
        join(bob, room_id)
        send(alice, room_id, "joined")
        assert bodies(read_all(bob, room_id, "f", limit=3)) == seen
        assert bodies(read_all(bob, room_id, "b")) == seen[::-1]

    @pytest.mark.parametrize(
        ("visibility", "seen"),
        [
            ("world_readable", ["before", "invited", "joined", "left"]),
            ("shared", ["before", "invited", "joined"]),
            ("invited", ["invited", "joined"]),
            ("joined", ["joined"]),
        ],
    )
    def test_those_who_left(self, alice: Client, bob: Client, visibility: str, seen: list[str]) -> None:
        room_id = self.room(alice, bob, visibility)
        join(bob, room_id)
        send(alice, room_id, "joined")
        leave(bob, room_id)
        secret = send(alice, room_id, "left")
        events = read_all(bob, room_id, "b", limit=4)
        assert bodies(events) == seen[::-1]
        own = [event for event in events if event.get("state_key") == bob.user_id]
        assert own[0]["content"]["membership"] == "leave"
        answer = bob.get(path(room_id, "event", secret))
        assert answer.status == (200 if visibility == "world_readable" else 404)
        assert bob.get(path(room_id, "context", secret)).status == answer.status

    @pytest.mark.parametrize("visibility", ["world_readable", "shared", "invited", "joined"])
    def test_invited_and_never_joined(self, alice: Client, bob: Client, visibility: str) -> None:
        room_id = self.room(alice, bob, visibility)
        if visibility == "world_readable":
            assert bodies(read_all(bob, room_id, "f")) == ["before", "invited"]
        else:
            refused(bob.get(path(room_id, "messages"), dir="b"), 403, "M_FORBIDDEN")
        leave(bob, room_id)
        status = bob.get(path(room_id, "messages"), dir="b").status
        assert status == (200 if visibility == "world_readable" else 403)

    @pytest.mark.parametrize("visibility", ["world_readable", "shared", "invited", "joined"])
    def test_strangers(self, alice: Client, bob: Client, make_client: MakeClient, visibility: str) -> None:
        room_id = self.room(alice, bob, visibility)
        eve = make_client("eve")
        if visibility == "world_readable":
            assert bodies(read_all(eve, room_id, "f")) == ["before", "invited"]
        else:
            refused(eve.get(path(room_id, "messages"), dir="b"), 403, "M_FORBIDDEN")

    def test_changes_count_from_when_they_are_made(self, alice: Client, bob: Client) -> None:
        room_id = self.room(alice, bob, "joined")
        change = set_state(
            alice, room_id, "m.room.history_visibility", {"history_visibility": "world_readable"}
        )
        send(alice, room_id, "open")
        events = read_all(bob, room_id, "b")
        assert bodies(events) == ["open"]
        assert change in event_ids(events)
        set_state(alice, room_id, "m.room.history_visibility", {"history_visibility": "joined"})
        hidden = send(alice, room_id, "closed")
        refused(bob.get(path(room_id, "messages"), dir="b"), 403, "M_FORBIDDEN")
        refused(bob.get(path(room_id, "event", hidden)), 404, "M_NOT_FOUND")
        assert ok(bob.get(path(room_id, "event", change)))["event_id"] == change
        join(bob, room_id)
        assert bodies(read_all(bob, room_id, "f")) == ["open"]

    def test_two_stays(self, alice: Client, bob: Client) -> None:
        room_id = self.room(alice, bob, "joined")
        join(bob, room_id)
        send(alice, room_id, "first stay")
        leave(bob, room_id)
        send(alice, room_id, "away")
        invite(alice, room_id, bob)
        assert bodies(read_all(bob, room_id, "b")) == ["first stay"]
        leave(bob, room_id)
        assert bodies(read_all(bob, room_id, "b")) == ["first stay"]
        invite(alice, room_id, bob)
        join(bob, room_id)
        send(alice, room_id, "second stay")
        assert bodies(read_all(bob, room_id, "f", limit=2)) == ["first stay", "second stay"]

    def test_banned_users_see_up_to_the_ban(self, alice: Client, bob: Client) -> None:
        room_id = self.room(alice, bob, "shared")
        join(bob, room_id)
        send(alice, room_id, "joined")
        ok(alice.post(path(room_id, "ban"), {"user_id": bob.user_id}))
        send(alice, room_id, "after")
        assert bodies(read_all(bob, room_id, "b")) == ["joined", "invited", "before"]

    def test_forgotten_rooms_are_closed(self, alice: Client, bob: Client) -> None:
        room_id = self.room(alice, bob, "shared")
        join(bob, room_id)
        event_id = send(alice, room_id, "joined")
        leave(bob, room_id)
        ok(bob.post(path(room_id, "forget")))
        refused(bob.get(path(room_id, "messages"), dir="b"), 403, "M_FORBIDDEN")
        refused(bob.get(path(room_id, "state")), 403, "M_FORBIDDEN")
        refused(bob.get(path(room_id, "members")), 403, "M_FORBIDDEN")
        refused(bob.get(path(room_id, "event", event_id)), 404, "M_NOT_FOUND")

    def test_membership_at_each_event(self, alice: Client, bob: Client) -> None:
        room_id = self.room(alice, bob, "shared")
        join(bob, room_id)
        send(alice, room_id, "joined")
        events = read_all(bob, room_id, "f", limit=4)
        by_body = {
            event["content"]["body"]: event["unsigned"]["membership"]
            for event in events
            if "body" in event["content"]
        }
        assert by_body == {"before": "leave", "invited": "invite", "joined": "join"}
        own = [e["unsigned"]["membership"] for e in events if e.get("state_key") == bob.user_id]
        assert own == ["invite", "join"]
