"""Actions of version 2: batches, action IDs, compact answers, deleted state, single power levels."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.storage.users import memberships
from tests.in_process import Answer, Client, segment
from tests.rooms.people import (
    V3,
    bodies,
    create_room,
    event_ids,
    join,
    leave,
    messages,
    ok,
    path,
    refused,
    send,
)

V2 = "/_matrix/client/v2"
MakeClient = Callable[..., Client]


def v2(room_id: str, *rest: str) -> str:
    return path(room_id, *rest, version=V2)


def text(body: str, **more: Any) -> dict[str, Any]:
    return {"type": "m.room.message", "content": {"msgtype": "m.text", "body": body}, **more}


@pytest.fixture
def room_id(alice: Client) -> str:
    return create_room(alice, preset="public_chat")


# -- One event -----------------------------------------------------------------------------------------------


def test_the_answer_is_the_whole_event(alice: Client, room_id: str) -> None:
    content = {"msgtype": "m.text", "body": "tea?"}
    answer = ok(alice.post(v2(room_id, "send", "m.room.message"), content, action_id="a1"))
    event = answer["event"]
    assert event["content"] == content
    assert event["type"] == "m.room.message"
    assert (event["action_id"], event["unsigned"]["transaction_id"]) == ("a1", "a1")
    shown = ok(alice.get(path(room_id, "event", event["event_id"])))
    assert {**event, "unsigned": 0} == {**shown, "unsigned": 0, "action_id": "a1"}
    later = send(alice, room_id, "later")
    assert later not in event_ids(messages(alice, room_id, **{"from": answer["token"]})["chunk"])


def test_a_compact_answer_is_what_the_server_added(alice: Client, room_id: str) -> None:
    answer = ok(
        alice.post(v2(room_id, "send", "m.room.message"), {"msgtype": "m.text", "body": "x"}, compact="true")
    )
    assert set(answer["event"]) == {"event_id", "room_id", "sender", "origin_server_ts", "unsigned"}


def test_an_action_id_makes_a_repetition_harmless(alice: Client, room_id: str) -> None:
    where = v2(room_id, "send", "m.room.message", "a1")
    first, second = (ok(alice.put(where, {"msgtype": "m.text", "body": body})) for body in ("one", "two"))
    assert first["event"]["event_id"] == second["event"]["event_id"]
    assert second["event"]["content"] == {"msgtype": "m.text", "body": "one"}
    assert bodies(messages(alice, room_id)["chunk"]) == ["one"]


def test_the_path_and_the_query_name_the_same_action(alice: Client, room_id: str) -> None:
    first = ok(alice.put(v2(room_id, "send", "m.room.message", "a1"), {"msgtype": "m.text", "body": "one"}))
    second = ok(
        alice.post(
            v2(room_id, "send", "m.room.message"), {"msgtype": "m.text", "body": "one"}, action_id="a1"
        )
    )
    assert first["event"]["event_id"] == second["event"]["event_id"]


def test_a_repetition_is_answered_after_one_has_left(
    alice: Client, make_client: MakeClient, room_id: str
) -> None:
    bob = make_client("bob")
    join(bob, room_id)
    where = v2(room_id, "send", "m.room.message", "a1")
    first = ok(bob.put(where, {"msgtype": "m.text", "body": "bye"}))
    leave(bob, room_id)
    assert (
        ok(bob.put(where, {"msgtype": "m.text", "body": "bye"}))["event"]["event_id"]
        == first["event"]["event_id"]
    )
    refused(
        bob.put(v2(room_id, "send", "m.room.message", "a2"), {"msgtype": "m.text", "body": "bye"}),
        403,
        "M_FORBIDDEN",
    )


def test_a_repeated_annotation_with_its_action_id_is_no_duplicate(alice: Client, room_id: str) -> None:
    parent = send(alice, room_id)
    content = {"m.relates_to": {"rel_type": "m.annotation", "event_id": parent, "key": "+"}}
    where = v2(room_id, "send", "m.reaction")
    first, again = (ok(alice.post(where, content, action_id="a1")) for _ in range(2))
    assert first["event"]["event_id"] == again["event"]["event_id"]
    refused(alice.post(where, content, action_id="a2"), 400, "M_DUPLICATE_ANNOTATION")


def test_the_same_action_at_once_is_one(alice: Client, room_id: str) -> None:
    where = v2(room_id, "send", "m.room.message", "a1")
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: ok(alice.put(where, {"msgtype": "m.text", "body": "once"})), range(8))
        )
    assert len({answer["event"]["event_id"] for answer in answers}) == 1
    assert bodies(messages(alice, room_id)["chunk"]) == ["once"]


def test_the_action_id_is_for_the_client_that_gave_it(
    alice: Client, make_client: MakeClient, room_id: str
) -> None:
    bob = make_client("bob")
    join(bob, room_id)
    message = {"msgtype": "m.text", "body": "x"}
    sent = ok(alice.put(v2(room_id, "send", "m.room.message", "a1"), message))
    event_id = sent["event"]["event_id"]
    mine, theirs = (ok(each.get(path(room_id, "event", event_id))) for each in (alice, bob))
    assert mine["unsigned"]["transaction_id"] == "a1"
    assert "transaction_id" not in theirs["unsigned"]


# -- Batches -------------------------------------------------------------------------------------------------


def batch(client: Client, room_id: str, *events: Any, **query: Any) -> Any:
    return client.post(v2(room_id, "send"), {"events": list(events)}, **query)


def test_a_batch_comes_in_its_order_with_one_answer(alice: Client, room_id: str) -> None:
    topic = {"type": "m.room.topic", "state_key": "", "content": {"topic": "tea"}}
    answer = ok(batch(alice, room_id, text("one", action_id="a1"), topic, text("two")))
    assert [event["type"] for event in answer["events"]] == [
        "m.room.message",
        "m.room.topic",
        "m.room.message",
    ]
    assert [event.get("action_id") for event in answer["events"]] == ["a1", None, None]
    chunk = messages(alice, room_id, limit=3)["chunk"]
    assert event_ids(chunk)[::-1] == event_ids(answer["events"])
    assert ok(alice.get(path(room_id, "state", "m.room.topic")))["topic"] == "tea"


def test_state_of_a_batch_holds_for_what_comes_after_it(alice: Client, room_id: str) -> None:
    levels = ok(alice.get(path(room_id, "state", "m.room.power_levels")))
    strict = {"type": "m.room.power_levels", "state_key": "", "content": {**levels, "events": {"x.y": 1000}}}
    first = {"type": "m.room.name", "state_key": "", "content": {"name": "one"}}
    second = {"type": "m.room.name", "state_key": "", "content": {"name": "two"}}
    answer = ok(batch(alice, room_id, strict, first, second))
    assert answer["events"][2]["unsigned"]["prev_content"] == {"name": "one"}


def test_a_batch_is_sent_whole_or_not_at_all(alice: Client, make_client: MakeClient, room_id: str) -> None:
    bob = make_client("bob")
    join(bob, room_id)
    before = messages(alice, room_id)["chunk"]
    name = {"type": "m.room.name", "state_key": "", "content": {"name": "Bob's"}}
    refused(batch(bob, room_id, text("one"), name), 403, "M_FORBIDDEN")
    refused(batch(bob, room_id, text("one"), text("x" * 66_000)), 413, "M_TOO_LARGE")
    refused(batch(bob, room_id, text("one"), {"type": "a", "content": {"half": 0.5}}), 400, "M_BAD_JSON")
    assert event_ids(messages(alice, room_id)["chunk"]) == event_ids(before)


def test_a_batch_again_is_the_same_batch(alice: Client, room_id: str) -> None:
    events = [text("one", action_id="a1"), text("two"), text("three", action_id="a3")]
    first, second = (ok(batch(alice, room_id, *events)) for _ in range(2))
    assert event_ids(first["events"]) == event_ids(second["events"])
    assert bodies(messages(alice, room_id)["chunk"]) == ["three", "two", "one"]


def test_an_action_id_stands_for_one_action(alice: Client, room_id: str) -> None:
    ok(batch(alice, room_id, text("one", action_id="a1"), text("two", action_id="a2")))
    for events in (
        [text("one", action_id="a1")],
        [text("one", action_id="a1"), text("other", action_id="b2")],
        [text("one", action_id="a1"), text("two", action_id="a2"), text("three")],
        [text("one", action_id="c1"), text("two", action_id="c1")],
    ):
        refused(batch(alice, room_id, *events), 400, "M_INVALID_PARAM")
    assert bodies(messages(alice, room_id)["chunk"]) == ["two", "one"]


def test_batches_at_once_are_not_mixed(alice: Client, room_id: str) -> None:
    def one(number: int) -> Any:
        return ok(batch(alice, room_id, *(text(f"{number}.{part}") for part in range(4))))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(one, range(6)))
    said = bodies(messages(alice, room_id, limit=24)["chunk"])[::-1]
    runs = [said[start : start + 4] for start in range(0, 24, 4)]
    assert sorted(runs) == [[f"{number}.{part}" for part in range(4)] for number in range(6)]


def test_a_full_batch_of_the_costliest_events_fits(alice: Client, room_id: str) -> None:
    roots = [send(alice, room_id, f"root {number}") for number in range(10)]
    thread = [
        {
            "type": "m.room.message",
            "content": {
                "msgtype": "m.text",
                "body": "re",
                "m.relates_to": {"rel_type": "m.thread", "event_id": root},
            },
            "action_id": root,
        }
        for root in roots
    ]
    assert len(ok(batch(alice, room_id, *thread))["events"]) == 10
    state = [
        {"type": f"org.example.{number}", "state_key": "k", "content": {}, "action_id": f"s{number}"}
        for number in range(10)
    ]
    assert len(ok(batch(alice, room_id, *state))["events"]) == 10


@pytest.mark.parametrize(
    ("events", "errcode"),
    [
        ([], "M_BAD_JSON"),
        ([text(str(number)) for number in range(11)], "M_BAD_JSON"),
        ([["no object"]], "M_BAD_JSON"),
        ([{"type": "m.room.message"}], "M_MISSING_PARAM"),
        ([{"content": {}}], "M_MISSING_PARAM"),
        ([text("x", state_key=5)], "M_BAD_JSON"),
        ([text("x", action_id=5)], "M_BAD_JSON"),
        ([text("x", action_id="")], "M_INVALID_PARAM"),
        ([text("x", action_id="x" * 256)], "M_INVALID_PARAM"),
        ([{"type": "m.room.member", "state_key": "@a:b", "content": {}}], "M_INVALID_PARAM"),
        (
            [{"type": "m.room.member", "state_key": "x", "content": {"membership": "invite"}}],
            "M_INVALID_PARAM",
        ),
        ([{"type": "m.room.redaction", "content": {"redacts": "$x"}}], "M_INVALID_PARAM"),
    ],
)
def test_what_is_no_batch(alice: Client, room_id: str, events: list[Any], errcode: str) -> None:
    refused(batch(alice, room_id, *events), 400, errcode)


def test_a_batch_may_have_memberships(alice: Client, make_client: MakeClient, room_id: str) -> None:
    bob, carol = make_client("bob"), make_client("carol")

    def member(client: Client, membership: str) -> Any:
        content = {"membership": membership}
        return {"type": "m.room.member", "state_key": client.user_id, "content": content}

    answer = ok(batch(alice, room_id, text("Meet them"), member(bob, "invite"), member(carol, "invite")))
    assert [event["type"] for event in answer["events"][1:]] == ["m.room.member"] * 2
    join(bob, room_id)
    # The second isn't allowed any more once the first has happened.
    refused(batch(alice, room_id, member(bob, "ban"), member(bob, "invite")), 403, "M_FORBIDDEN")
    assert ok(alice.get(path(room_id, "state", "m.room.member", bob.user_id)))["membership"] == "join"
    refused(batch(bob, room_id, member(alice, "leave")), 403, "M_FORBIDDEN")
    ok(batch(carol, room_id, member(carol, "join")))
    assert ok(alice.get(path(room_id, "joined_members")))["joined"].keys() == {
        alice.user_id, bob.user_id, carol.user_id,
    }  # fmt: skip


def test_a_membership_that_goes_on_within_a_batch_began_with_it(
    alice: Client, make_client: MakeClient, room_id: RoomId
) -> None:
    bob = make_client("bob")
    ok(alice.put(path(room_id, "state", "m.room.join_rules", ""), {"join_rule": "public"}))

    def join_as(name: str) -> Any:
        content = {"membership": "join", "displayname": name}
        return {"type": "m.room.member", "state_key": bob.user_id, "content": content}

    ok(batch(bob, room_id, join_as("Bob"), join_as("Bobby")))
    row = memberships.read_membership(UserId(bob.user_id), room_id)
    assert row is not None
    assert row.since is not None
    assert row.ordinal == row.since + 1
    assert ok(bob.get(path(room_id, "joined_members")))["joined"][bob.user_id]["display_name"] == "Bobby"


def test_a_canonical_alias_must_be_the_rooms(alice: Client, room_id: str) -> None:
    content = {"alias": alice.user_id.replace("@", "#", 1)}
    where = v2(room_id, "state", "m.room.canonical_alias")
    refused(alice.put(where, content), 400, "M_BAD_ALIAS")
    ok(alice.put(f"{V3}/directory/room/{segment(content['alias'])}", {"room_id": room_id}))
    ok(alice.put(where, content))


def test_a_restricted_room_by_its_state(alice: Client, room_id: str, make_client: MakeClient) -> None:
    bob, carol = make_client("bob"), make_client("carol")
    join(bob, room_id)
    allow = [{"type": "m.room_membership", "room_id": room_id}]
    rule = {"type": "m.room.join_rules", "content": {"join_rule": "restricted", "allow": allow}}
    restricted = create_room(alice, initial_state=[rule])

    def joining(client: Client) -> Answer:
        content = {"membership": "join", "join_authorised_via_users_server": alice.user_id}
        return client.put(v2(restricted, "state", "m.room.member", client.user_id), content)

    refused(joining(carol), 403, "M_FORBIDDEN")
    ok(joining(bob))


def test_outsiders_send_nothing(make_client: MakeClient, room_id: str) -> None:
    carol = make_client("carol")
    refused(batch(carol, room_id, text("one")), 403, "M_FORBIDDEN")
    refused(batch(carol, "!nowhere:example.org", text("one")), 403, "M_FORBIDDEN")
    refused(carol.put(v2(room_id, "state", "m.room.topic"), {}), 403, "M_FORBIDDEN")
    refused(carol.delete(v2(room_id, "state", "m.room.topic")), 403, "M_FORBIDDEN")


# -- State ---------------------------------------------------------------------------------------------------


def test_state_that_is_so_already_stays(alice: Client, room_id: str) -> None:
    where = v2(room_id, "state", "org.example.mood", "today")
    first = ok(alice.put(where, {"mood": "merry"}, action_id="a1"))
    again = ok(alice.put(where, {"mood": "merry"}, action_id="a2"))
    assert first["event"]["event_id"] == again["event"]["event_id"]
    ok(alice.put(where, {"mood": "sad"}))
    late = ok(alice.put(where, {"mood": "merry"}, action_id="a2"))
    assert late["event"]["event_id"] == first["event"]["event_id"]
    assert ok(alice.get(path(room_id, "state", "org.example.mood", "today"))) == {"mood": "sad"}


def test_deleted_state_is_an_event_without_content(alice: Client, room_id: str) -> None:
    where = v2(room_id, "state", "m.room.topic")
    ok(alice.put(where, {"topic": "tea"}))
    event = ok(alice.delete(where, action_id="d1"))["event"]
    assert "content" not in event
    assert event["unsigned"]["prev_content"] == {"topic": "tea"}
    assert ok(alice.delete(where, action_id="d1"))["event"]["event_id"] == event["event_id"]
    assert ok(alice.delete(where))["event"]["event_id"] == event["event_id"]
    assert ok(alice.get(path(room_id, "state", "m.room.topic"))) == {}


@pytest.mark.parametrize(
    ("event_type", "content"),
    [("m.room.message", {"body": 5}), ("m.room.name", {"name": 5}), ("m.room.server_acl", {"allow": []})],
)
def test_contents_that_others_would_fail_on_are_refused(
    alice: Client, room_id: str, event_type: str, content: dict[str, Any]
) -> None:
    refused(
        batch(alice, room_id, text("one"), {"type": event_type, "state_key": "", "content": content}),
        400,
        "M_BAD_JSON",
    )
    assert "one" not in bodies(messages(alice, room_id)["chunk"])


def test_a_server_acl_can_not_be_deleted(alice: Client, room_id: str) -> None:
    """Without an allow list it would shut out everybody, this server too."""
    ok(alice.put(v2(room_id, "state", "m.room.server_acl"), {"allow": ["*"]}))
    refused(alice.delete(v2(room_id, "state", "m.room.server_acl")), 400, "M_BAD_JSON")


def test_what_can_not_be_deleted(alice: Client, make_client: MakeClient, room_id: str) -> None:
    bob = make_client("bob")
    join(bob, room_id)
    refused(alice.delete(v2(room_id, "state", "m.room.topic")), 404, "M_NOT_FOUND")
    refused(alice.delete(v2(room_id, "state", "m.room.create")), 400, "M_INVALID_PARAM")
    refused(alice.delete(v2(room_id, "state", "m.room.member", bob.user_id)), 400, "M_INVALID_PARAM")
    refused(bob.delete(v2(room_id, "state", "m.room.join_rules")), 403, "M_FORBIDDEN")


def test_one_power_level_is_changed_alone(alice: Client, make_client: MakeClient, room_id: str) -> None:
    bob = make_client("bob")
    levels = path(room_id, "state", "m.room.power_levels")
    before = ok(alice.get(levels))

    def patch(client: Client, key: Any, value: Any) -> Any:
        return client.put(v2(room_id, "powerLevels"), {"key": key, "value": value})

    ok(patch(alice, "kick", 60))
    event = ok(patch(alice, ["users", bob.user_id], 25))["event"]
    assert event["content"] == {**before, "kick": 60, "users": {**before["users"], bob.user_id: 25}}
    ok(patch(alice, ["users", bob.user_id], None))
    assert ok(alice.get(levels)) == {**before, "kick": 60}
    join(bob, room_id)
    refused(patch(bob, "kick", 0), 403, "M_FORBIDDEN")
    for key, value in (("users", 5), ([], 5), (["a", "b", "c"], 5), ("kick", "5"), ("kick", True), (5, 5)):
        assert patch(alice, key, value).status == 400
    refused(patch(alice, ["kick", "x"], 5), 400, "M_INVALID_PARAM")


def test_patches_at_once_all_count(alice: Client, room_id: str) -> None:
    keys = ["kick", "ban", "invite", "redact", "users_default", "events_default"]

    def patch(key: str) -> None:
        ok(alice.put(v2(room_id, "powerLevels"), {"key": key, "value": 7}))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(patch, keys))
    levels = ok(alice.get(path(room_id, "state", "m.room.power_levels")))
    assert [levels[key] for key in keys] == [7] * 6


def test_rates_are_limited_by_the_event(alice: Client, room_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from murmuration.identity import rate_limits
    from murmuration.settings import settings

    monkeypatch.setenv("MURMURATION_RATE_LIMITS", "on")
    settings.cache_clear()
    monkeypatch.setattr(rate_limits, "now_ms", lambda: 1_700_000_000_000)
    try:
        ok(batch(alice, room_id, *(text(str(number)) for number in range(10))))
        refused(batch(alice, room_id, text("more"), text("and more")), 429, "M_LIMIT_EXCEEDED")
    finally:
        monkeypatch.undo()
        settings.cache_clear()


def test_state_of_too_long_a_name_is_refused(alice: Client, room_id: str) -> None:
    events = [{"type": "m", "content": {}, "state_key": "x" * 3000}]
    refused(alice.post(path(room_id, "send", version=V2), {"events": events}), 413, "M_TOO_LARGE")
    where = ("state", "x" * 600, "y" * 600)
    refused(alice.put(path(room_id, *where), {}), 413, "M_TOO_LARGE")
    refused(alice.delete(path(room_id, *where, version=V2)), 404, "M_NOT_FOUND")


def test_paths_with_odd_names(alice: Client, room_id: str) -> None:
    where = v2(room_id, "state", "org.example/odd", "a/b#c")
    assert ok(alice.put(where, {"x": 1}))["event"]["state_key"] == "a/b#c"
