"""Relations: bundled aggregations, asking for related events, threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from murmuration.aws import dynamodb
from tests.in_process import Client, segment
from tests.rooms.people import (
    V1,
    V3,
    create_room,
    event_ids,
    join,
    leave,
    messages,
    ok,
    path,
    redact,
    refused,
    relate,
    send,
    set_state,
)

MakeClient = Callable[..., Client]


def bundled(client: Client, room_id: str, event_id: str) -> dict[str, Any]:
    """Return the event's aggregations. They are the same by /event, /messages and /context."""
    event = ok(client.get(path(room_id, "event", event_id)))
    found = event["unsigned"].get("m.relations", {})
    context = ok(client.get(path(room_id, "context", event_id)))["event"]
    assert ages_out(context["unsigned"].get("m.relations", {})) == ages_out(found)
    for other in messages(client, room_id, limit=100)["chunk"]:
        if other["event_id"] == event_id:
            assert ages_out(other["unsigned"].get("m.relations", {})) == ages_out(found)
    return dict(found)


def ages_out(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: ages_out(each) for name, each in value.items() if name != "age"}
    return [ages_out(each) for each in value] if isinstance(value, list) else value


def edit(client: Client, room_id: str, parent: str, text: str) -> str:
    return relate(client, room_id, parent, "m.replace", **{"m.new_content": {"body": text}})


class TestReplace:
    def test_latest_edit_is_bundled_and_content_left_alone(self, alice: Client, room_id: str) -> None:
        parent = send(alice, room_id, "original")
        assert bundled(alice, room_id, parent) == {}
        edit(alice, room_id, parent, "first")
        latest = edit(alice, room_id, parent, "second")
        replacement = bundled(alice, room_id, parent)["m.replace"]
        assert replacement["event_id"] == latest
        assert replacement["content"]["m.new_content"] == {"body": "second"}
        assert (replacement["sender"], replacement["type"]) == (alice.user_id, "m.room.message")
        event = ok(alice.get(path(room_id, "event", parent)))
        assert event["content"]["body"] == "original"

    def test_invalid_edits_don_t_count(self, alice: Client, bob: Client, room_id: str) -> None:
        parent = send(alice, room_id, "original")
        edit(bob, room_id, parent, "by another")
        relate(alice, room_id, parent, "m.replace")
        new = {"m.new_content": {"body": "x"}}
        relate(alice, room_id, parent, "m.replace", event_type="org.example.other", **new)
        assert bundled(alice, room_id, parent) == {}
        valid = edit(alice, room_id, parent, "valid")
        assert bundled(alice, room_id, parent)["m.replace"]["event_id"] == valid
        edit(alice, room_id, valid, "of an edit")
        assert bundled(alice, room_id, valid) == {}

    def test_encrypted_edits_count(self, alice: Client, room_id: str) -> None:
        parent = send(alice, room_id, {"ciphertext": "a"}, "m.room.encrypted")
        latest = relate(alice, room_id, parent, "m.replace", event_type="m.room.encrypted")
        assert bundled(alice, room_id, parent)["m.replace"]["event_id"] == latest

    def test_redacted_edits_and_originals(self, alice: Client, room_id: str) -> None:
        parent = send(alice, room_id, "original")
        first = edit(alice, room_id, parent, "first")
        second = edit(alice, room_id, parent, "second")
        redact(alice, room_id, second)
        assert bundled(alice, room_id, parent)["m.replace"]["event_id"] == first
        redact(alice, room_id, parent)
        assert bundled(alice, room_id, parent) == {}

    def test_state_has_no_aggregations(self, alice: Client, room_id: str) -> None:
        state = set_state(alice, room_id, "m.room.topic", {"topic": "x"})
        relate(alice, room_id, state, "m.reference")
        assert bundled(alice, room_id, state) == {}


class TestReference:
    def test_references_are_listed(self, alice: Client, bob: Client, room_id: str) -> None:
        parent = send(alice, room_id, "parent")
        first = relate(alice, room_id, parent, "m.reference")
        second = relate(bob, room_id, parent, "m.reference")
        assert bundled(alice, room_id, parent) == {
            "m.reference": {"chunk": [{"event_id": first}, {"event_id": second}]}
        }
        redact(alice, room_id, first)
        assert bundled(alice, room_id, parent) == {"m.reference": {"chunk": [{"event_id": second}]}}

    def test_annotations_are_not_bundled(self, alice: Client, room_id: str) -> None:
        parent = send(alice, room_id, "parent")
        relate(alice, room_id, parent, "m.annotation", event_type="m.reaction", relation={"key": "+1"})
        assert bundled(alice, room_id, parent) == {}

    def test_odd_parents_disturb_nothing(self, alice: Client, room_id: str) -> None:
        """Whatever a client names as a parent, the real relations don't change."""
        parent = send(alice, room_id, "parent")
        reference = relate(alice, room_id, parent, "m.reference")
        version = {"msgtype": "m.text", "body": "x"}
        for odd in (
            f"{parent}#m.reference#1000000000000012",
            f"{parent}#m.reference",
            "",
            "$" + "x" * 400,
            5,
            None,
        ):
            content = {**version, "m.relates_to": {"rel_type": "m.thread", "event_id": odd}}
            alice.put(path(room_id, "send", "m.room.message", f"odd{odd}"[:60]), content)
        expected = {"m.reference": {"chunk": [{"event_id": reference}]}}
        assert bundled(alice, room_id, parent) == expected


class TestThread:
    def test_thread_is_summed_up(self, alice: Client, bob: Client, room_id: str) -> None:
        root = send(bob, room_id, "root")
        relate(bob, room_id, root, "m.thread")
        latest = relate(bob, room_id, root, "m.thread", body="latest")
        thread = bundled(alice, room_id, root)["m.thread"]
        assert thread["latest_event"]["event_id"] == latest
        assert thread["latest_event"]["content"]["body"] == "latest"
        assert (thread["count"], thread["current_user_participated"]) == (2, False)
        assert bundled(bob, room_id, root)["m.thread"]["current_user_participated"] is True
        mine = relate(alice, room_id, root, "m.thread")
        thread = bundled(alice, room_id, root)["m.thread"]
        assert (thread["count"], thread["current_user_participated"]) == (3, True)
        redact(alice, room_id, mine)
        thread = bundled(alice, room_id, root)["m.thread"]
        assert (thread["count"], thread["current_user_participated"]) == (2, False)
        assert thread["latest_event"]["event_id"] == latest

    def test_latest_event_has_aggregations_of_its_own(self, alice: Client, room_id: str) -> None:
        root = send(alice, room_id, "root")
        reply = relate(alice, room_id, root, "m.thread")
        change = edit(alice, room_id, reply, "changed")
        latest = bundled(alice, room_id, root)["m.thread"]["latest_event"]
        assert latest["unsigned"]["m.relations"]["m.replace"]["event_id"] == change

    def test_a_thread_whose_replies_are_all_redacted_is_none(self, alice: Client, room_id: str) -> None:
        root = send(alice, room_id, "root")
        redact(alice, room_id, relate(alice, room_id, root, "m.thread"))
        assert bundled(alice, room_id, root) == {}
        assert ok(alice.get(path(room_id, "threads", version=V1))) == {"chunk": []}

    def test_ignored_users_don_t_count(self, alice: Client, bob: Client, room_id: str) -> None:
        root = send(alice, room_id, "root")
        mine = relate(alice, room_id, root, "m.thread")
        relate(bob, room_id, root, "m.thread")
        relate(bob, room_id, root, "m.reference")
        theirs = send(bob, room_id, "their root")
        relate(alice, room_id, theirs, "m.thread")
        content: dict[str, Any] = {"ignored_users": {bob.user_id: {}}}
        ok(alice.put(f"{V3}/user/{segment(alice.user_id)}/account_data/m.ignored_user_list", content))
        found = bundled(alice, room_id, root)
        assert "m.reference" not in found
        assert (found["m.thread"]["count"], found["m.thread"]["latest_event"]["event_id"]) == (1, mine)
        related = ok(alice.get(path(room_id, "relations", root, version=V1)))
        assert event_ids(related["chunk"]) == [mine]
        roots = ok(alice.get(path(room_id, "threads", version=V1)))["chunk"]
        assert {event["event_id"]: event["content"] for event in roots} == {
            theirs: {},
            root: {"msgtype": "m.text", "body": "root"},
        }

    def test_those_who_left_learn_nothing_of_what_followed(
        self, alice: Client, bob: Client, room_id: str
    ) -> None:
        root = send(alice, room_id, "root")
        first = relate(alice, room_id, root, "m.thread")
        leave(bob, room_id)
        relate(alice, room_id, root, "m.thread")
        edit(alice, room_id, root, "secret")
        reference = relate(alice, room_id, root, "m.reference")
        found = bundled(bob, room_id, root)
        assert set(found) == {"m.thread"}
        assert (found["m.thread"]["count"], found["m.thread"]["latest_event"]["event_id"]) == (1, first)
        related = ok(bob.get(path(room_id, "relations", root, version=V1)))
        assert event_ids(related["chunk"]) == [first]
        assert reference not in str(ok(bob.get(path(room_id, "threads", version=V1))))

    def test_hidden_history_is_not_bundled(self, alice: Client, make_client: MakeClient) -> None:
        visibility = {"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}
        room_id = create_room(alice, preset="public_chat", initial_state=[visibility])
        carol = make_client("carol")
        join(carol, room_id)
        root = send(alice, room_id, "root")
        leave(carol, room_id)
        hidden = relate(alice, room_id, root, "m.thread")
        referring = relate(alice, room_id, root, "m.reference")
        join(carol, room_id)
        shown = relate(alice, room_id, root, "m.thread")
        found = bundled(carol, room_id, root)
        assert "m.reference" not in found
        assert found["m.thread"]["latest_event"]["event_id"] == shown
        redact(alice, room_id, shown)
        assert bundled(carol, room_id, root) == {}
        related = ok(carol.get(path(room_id, "relations", root, version=V1)))
        assert hidden not in event_ids(related["chunk"])
        assert referring not in event_ids(related["chunk"])


class TestRelationsEndpoint:
    def test_by_type_and_event_type(self, alice: Client, room_id: str) -> None:
        parent = send(alice, room_id, "parent")
        reply = relate(alice, room_id, parent, "m.thread")
        other = relate(alice, room_id, parent, "m.thread", event_type="org.example.other")
        like = relate(alice, room_id, parent, "org.example.like")
        dislike = relate(alice, room_id, parent, "org.example.dislike")

        def related(*rest: str, **query: Any) -> list[str]:
            answer = ok(alice.get(path(room_id, "relations", parent, *rest, version=V1), **query))
            return event_ids(answer["chunk"])

        assert related() == [dislike, like, other, reply]
        assert related(dir="f") == [reply, other, like, dislike]
        assert related("m.thread") == [other, reply]
        assert related("m.thread", "m.room.message") == [reply]
        assert related("org.example.like") == [like]
        assert related("m.annotation") == []

    @pytest.mark.parametrize("direction", ["b", "f"])
    @pytest.mark.parametrize("limit", [1, 2, 5, 50])
    @pytest.mark.parametrize("recurse", ["true", "false"])
    def test_pages_cover_everything_once(
        self, alice: Client, room_id: str, direction: str, limit: int, recurse: str
    ) -> None:
        parent = send(alice, room_id, "parent")
        types = ("m.thread", "org.example.a", "m.reference", "org.example.b")
        sent = [relate(alice, room_id, parent, types[number % 4]) for number in range(7)]
        seen: list[str] = []
        token = None
        for _ in range(20):
            query: dict[str, Any] = {"from": token} if token else {}
            answer = ok(
                alice.get(
                    path(room_id, "relations", parent, version=V1),
                    dir=direction,
                    limit=limit,
                    recurse=recurse,
                    **query,
                )
            )
            assert answer.get("prev_batch") == token
            assert ("recursion_depth" in answer) == (recurse == "true")
            seen += event_ids(answer["chunk"])
            token = answer.get("next_batch")
            if token is None:
                break
        assert seen == (sent if direction == "f" else sent[::-1])

    def test_bounds_and_tokens_of_messages(self, alice: Client, room_id: str) -> None:
        parent = send(alice, room_id, "parent")
        first = relate(alice, room_id, parent, "m.thread")
        between = messages(alice, room_id)["start"]
        second = relate(alice, room_id, parent, "m.thread")
        where = path(room_id, "relations", parent, version=V1)
        assert event_ids(ok(alice.get(where, **{"from": between}))["chunk"]) == [first]
        assert event_ids(ok(alice.get(where, to=between))["chunk"]) == [second]
        assert event_ids(ok(alice.get(where, dir="f", to=between))["chunk"]) == [first]

    def test_recursion(self, alice: Client, room_id: str) -> None:
        root = send(alice, room_id, "root")
        reply = relate(alice, room_id, root, "m.thread")
        change = edit(alice, room_id, reply, "changed")
        reaction = relate(alice, room_id, reply, "m.annotation", relation={"key": "+"})
        where = path(room_id, "relations", root, version=V1)
        assert event_ids(ok(alice.get(where))["chunk"]) == [reply]
        deep = ok(alice.get(where, recurse="true"))
        assert event_ids(deep["chunk"]) == [reaction, change, reply]
        assert deep["recursion_depth"] >= 3
        edits = ok(alice.get(path(room_id, "relations", root, "m.replace", version=V1), recurse="true"))
        assert event_ids(edits["chunk"]) == [change]

    def test_errors(self, alice: Client, room_id: str, make_client: MakeClient) -> None:
        parent = send(alice, room_id, "parent")
        where = path(room_id, "relations", parent, version=V1)
        refused(make_client("eve").get(where), 403, "M_FORBIDDEN")
        refused(alice.get(path(room_id, "relations", "$unknown", version=V1)), 404, "M_NOT_FOUND")
        for query in ({"dir": "x"}, {"limit": "-1"}, {"from": "x"}, {"to": "x"}, {"recurse": "x"}):
            refused(alice.get(where, **query), 400, "M_INVALID_PARAM")
        refused(alice.get(path(room_id, "relations", parent)), 404, "M_UNRECOGNIZED")


class TestThreads:
    def test_threads_by_latest_event_in_pages(self, alice: Client, bob: Client, room_id: str) -> None:
        roots = [send(alice if number % 2 else bob, room_id, str(number)) for number in range(5)]
        for root in (*roots, roots[1]):
            relate(bob, room_id, root, "m.thread")
        expected = [roots[1], roots[4], roots[3], roots[2], roots[0]]
        seen: list[str] = []
        token = None
        while True:
            query: dict[str, Any] = {"from": token} if token else {}
            page = ok(alice.get(path(room_id, "threads", version=V1), limit=2, **query))
            assert len(page["chunk"]) <= 2
            seen += event_ids(page["chunk"])
            token = page.get("next_batch")
            if token is None:
                break
        assert seen == expected
        mine = ok(alice.get(path(room_id, "threads", version=V1), include="participated"))["chunk"]
        assert event_ids(mine) == [roots[1], roots[3]]
        assert all("m.thread" in event["unsigned"]["m.relations"] for event in mine)

    def test_errors(self, alice: Client, room_id: str, make_client: MakeClient) -> None:
        where = path(room_id, "threads", version=V1)
        assert ok(alice.get(where)) == {"chunk": []}
        refused(make_client("eve").get(where), 403, "M_FORBIDDEN")
        for query in ({"limit": "-1"}, {"from": "x"}, {"include": "x"}):
            refused(alice.get(where, **query), 400, "M_INVALID_PARAM")


class TestSending:
    def react(self, client: Client, room_id: str, parent: str, key: str, txn_id: str) -> Any:
        content = {"m.relates_to": {"rel_type": "m.annotation", "event_id": parent, "key": key}}
        return client.put(path(room_id, "send", "m.reaction", txn_id), content)

    def test_same_annotation_is_refused_until_redacted(
        self, alice: Client, bob: Client, room_id: str
    ) -> None:
        parent = send(alice, room_id, "parent")
        first = ok(self.react(alice, room_id, parent, "+1", "a"))["event_id"]
        refused(self.react(alice, room_id, parent, "+1", "b"), 400, "M_DUPLICATE_ANNOTATION")
        ok(self.react(alice, room_id, parent, "-1", "c"))
        ok(self.react(bob, room_id, parent, "+1", "d"))
        redact(alice, room_id, first)
        ok(self.react(alice, room_id, parent, "+1", "e"))

    def test_repeated_request_is_no_second_annotation(self, alice: Client, room_id: str) -> None:
        parent = send(alice, room_id, "parent")
        first = ok(self.react(alice, room_id, parent, "+1", "same"))
        assert ok(self.react(alice, room_id, parent, "+1", "same")) == first

    @pytest.mark.parametrize("key", [{}, {"key": 5}, {"key": None}, {"key": "k" * 501}])
    def test_an_annotation_needs_a_key(self, alice: Client, room_id: str, key: dict[str, Any]) -> None:
        relation = {"rel_type": "m.annotation", "event_id": send(alice, room_id), **key}
        answer = alice.put(path(room_id, "send", "m.reaction", "a"), {"m.relates_to": relation})
        refused(answer, 400, "M_BAD_JSON")

    @pytest.mark.parametrize("rel_type", ["m.annotation", "m.reference", "m.replace", "m.thread"])
    def test_nothing_relates_to_an_event_that_is_not_in_the_room(
        self, alice: Client, room_id: str, rel_type: str
    ) -> None:
        for number, parent in enumerate((send(alice, create_room(alice)), "$" + "a" * 43)):
            content = {"m.relates_to": {"rel_type": rel_type, "event_id": parent, "key": "a"}}
            answer = alice.put(path(room_id, "send", "org.example.x", f"t{number}"), content)
            refused(answer, 400, "M_UNKNOWN")

    def test_an_event_may_relate_to_an_older_one_that_this_server_lacks(
        self, alice: Client, room_id: str
    ) -> None:
        older = "$" + "b" * 43
        known = {"room_id": room_id, "sk": f"relation#{older}#other#0000000000000001"}
        dynamodb.execute(dynamodb.put("rooms", known))  # as an event of another server brings it
        relate(alice, room_id, older, "m.reference")

    def test_threads_don_t_begin_with_related_events(self, alice: Client, room_id: str) -> None:
        root = send(alice, room_id, "root")
        reply = relate(alice, room_id, root, "m.thread")
        content = {
            "msgtype": "m.text",
            "body": "x",
            "m.relates_to": {"rel_type": "m.thread", "event_id": reply},
        }
        refused(alice.put(path(room_id, "send", "m.room.message", "t"), content), 400, "M_UNKNOWN")

    def test_redaction_that_claims_to_relate_is_harmless(self, alice: Client, room_id: str) -> None:
        root = send(alice, room_id, "root")
        reply = relate(alice, room_id, root, "m.thread")
        for target, txn_id in ((reply, "r1"), (root, "r2")):
            content = {"m.relates_to": {"rel_type": "m.thread", "event_id": root}}
            ok(alice.put(path(room_id, "redact", target, txn_id), content))
        assert bundled(alice, room_id, root) == {}


def test_many_replies_at_once_are_all_counted(alice: Client, bob: Client, room_id: str) -> None:
    root = send(alice, room_id, "root")
    with ThreadPoolExecutor(8) as threads:
        list(
            threads.map(lambda number: relate((alice, bob)[number % 2], room_id, root, "m.thread"), range(12))
        )
    assert bundled(alice, room_id, root)["m.thread"]["count"] == 12
