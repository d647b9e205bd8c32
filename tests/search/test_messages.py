"""Search in messages."""

from __future__ import annotations

from typing import Any

import pytest

from murmuration.accounts.management import close_account
from murmuration.protocol.identifiers import UserId
from murmuration.protocol.sizes import Budget
from murmuration.search import messages, newest_first
from tests.in_process import Client
from tests.rooms.people import (
    V3,
    create_room,
    event_ids,
    join,
    leave,
    ok,
    path,
    redact,
    refused,
    relate,
    send,
    set_state,
)


@pytest.fixture
def room_id(alice: Client, bob: Client) -> str:
    room = create_room(alice, preset="public_chat", name="Tea room")
    join(bob, room)
    return room


def search(client: Client, term: str, token: str | None = None, **criteria: Any) -> Any:
    body = {"search_categories": {"room_events": {"search_term": term, **criteria}}}
    return ok(client.post(f"{V3}/search", body, next_batch=token))["search_categories"]["room_events"]


def found(answer: Any) -> list[str]:
    return event_ids([each["result"] for each in answer["results"]])


def test_all_words_in_any_case_the_newest_first(alice: Client, bob: Client, room_id: str) -> None:
    first = send(alice, room_id, "The MAD hatter's tea")
    send(alice, room_id, "A mad dormouse")
    second = send(bob, room_id, "Hatters are mad")
    answer = search(alice, "mad hatter", order_by="recent")
    assert found(answer) == [second, first]
    assert (answer["count"], answer["highlights"]) == (2, ["mad", "hatter"])
    assert "next_batch" not in answer
    assert answer["results"][0]["result"]["room_id"] == room_id


def test_the_closest_first(alice: Client, room_id: str) -> None:
    close = send(alice, room_id, "walrus")
    far = send(alice, room_id, "the walrus and the carpenter")
    answer = search(alice, "walrus")
    assert found(answer) == [close, far]
    assert answer["results"][0]["rank"] > answer["results"][1]["rank"]


def test_names_and_topics_by_their_keys(alice: Client, room_id: str) -> None:
    name = set_state(alice, room_id, "m.room.name", {"name": "Jabberwocky"})
    topic = set_state(alice, room_id, "m.room.topic", {"topic": "Jabberwocky"})
    body = send(alice, room_id, "Jabberwocky")
    assert set(found(search(alice, "jabberwocky"))) == {name, topic, body}
    assert found(search(alice, "jabberwocky", keys=["content.name"])) == [name]
    assert found(search(alice, "jabberwocky", keys=["content.topic"])) == [topic]


def test_pages_have_each_once(alice: Client, room_id: str) -> None:
    sent = [send(alice, room_id, f"oyster {number}") for number in range(5)]
    shown: list[str] = []
    token = None
    while True:
        answer = search(alice, "oyster", token, order_by="recent", filter={"limit": 2})
        shown += found(answer)
        token = answer.get("next_batch")
        if token is None:
            break
    assert shown == sent[::-1]


def test_a_scan_that_ends_early_says_so(alice: Client, room_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    event_id = send(alice, room_id, "bandersnatch")
    for _ in range(5):
        send(alice, room_id)
    monkeypatch.setattr("murmuration.search.newest_first.MOST_ENTRIES", 3)
    answer = search(alice, "bandersnatch")
    assert found(answer) == []
    assert found(search(alice, "bandersnatch", answer["next_batch"])) == [event_id]


def test_more_rooms_than_are_scanned_at_once(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest_first, "MOST_ROOMS", 2)
    sent = {send(alice, create_room(alice), "dodo") for _ in range(5)}
    pages = [search(alice, "dodo")]
    while "next_batch" in pages[-1]:
        pages.append(search(alice, "dodo", pages[-1]["next_batch"]))
    shown = [event_id for page in pages for event_id in found(page)]
    assert (set(shown), len(shown)) == (sent, 5)


def test_only_what_one_may_see(alice: Client, bob: Client, room_id: str) -> None:
    seen = send(alice, room_id, "snark")
    leave(bob, room_id)
    unseen = send(alice, room_id, "snark again")
    assert found(search(bob, "snark")) == [seen]
    assert set(found(search(alice, "snark"))) == {seen, unseen}
    assert found(search(alice, "nothing such")) == []
    redact(alice, room_id, seen)
    assert found(search(alice, "snark")) == [unseen]


def test_encrypted_rooms_are_left_out(alice: Client) -> None:
    room = create_room(alice)
    send(alice, room, "vorpal")
    set_state(alice, room, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
    assert found(search(alice, "vorpal")) == []


def test_filters(alice: Client, bob: Client, room_id: str) -> None:
    other = create_room(alice)
    mine, hers = send(bob, room_id, "gryphon"), send(alice, other, "gryphon")
    assert found(search(alice, "gryphon", filter={"rooms": [other]})) == [hers]
    assert found(search(alice, "gryphon", filter={"not_rooms": [other]})) == [mine]
    assert found(search(alice, "gryphon", filter={"senders": [bob.user_id]})) == [mine]


def test_null_counts_as_absent(alice: Client, room_id: str) -> None:
    event_id = send(alice, room_id, "jabberwock")
    nothing = dict.fromkeys(("filter", "event_context", "groupings", "keys", "include_state"))
    assert found(search(alice, "jabberwock", **nothing)) == [event_id]


def test_a_search_in_a_room_finds_what_was_said_before_its_upgrades(alice: Client, bob: Client) -> None:
    room = create_room(alice, preset="public_chat", room_version="10")
    join(bob, room)
    said, others = [send(alice, room, "tweedle")], send(alice, create_room(alice), "tweedle")
    for version in ("11", "12"):
        room = ok(alice.post(path(room, "upgrade"), {"new_version": version}))["replacement_room"]
        said.append(send(alice, room, "tweedle"))
    in_room: dict[str, Any] = {"order_by": "recent", "filter": {"rooms": [room]}}
    assert found(search(alice, "tweedle", **in_room)) == said[::-1]
    assert found(search(bob, "tweedle", **in_room)) == [], "who isn't in a room isn't led back by it"
    join(bob, room)
    assert others not in found(search(bob, "tweedle", **in_room))


def test_a_filter_of_relations(alice: Client, bob: Client, room_id: str) -> None:
    root = send(alice, room_id, "tortoise")
    send(alice, room_id, "tortoise")
    relate(bob, room_id, root, "m.thread")
    assert found(search(alice, "tortoise", filter={"related_by_rel_types": ["m.thread"]})) == [root]
    assert found(search(alice, "tortoise", filter={"related_by_senders": [alice.user_id]})) == []


def test_context_profiles_groups_and_state(alice: Client, bob: Client, room_id: str) -> None:
    before = [send(bob, room_id, f"before {number}") for number in range(3)]
    event_id = send(alice, room_id, "cheshire")
    after = relate(bob, room_id, event_id, "m.thread")
    context: dict[str, Any] = {"before_limit": 2, "after_limit": 1, "include_profile": True}
    grouping = {"group_by": [{"key": "room_id"}, {"key": "sender"}]}
    answer = search(alice, "cheshire", event_context=context, groupings=grouping, include_state=True)
    told = answer["results"][0]["context"]
    assert event_ids(told["events_before"]) == before[:0:-1]
    assert event_ids(told["events_after"]) == [after]
    assert told["profile_info"][bob.user_id] == {"displayname": "bob"}
    assert answer["groups"] == {
        "room_id": {room_id: {"order": 1, "results": [event_id]}},
        "sender": {alice.user_id: {"order": 1, "results": [event_id]}},
    }
    types = {(event["type"], event["state_key"]) for event in answer["state"][room_id]}
    assert {("m.room.name", ""), ("m.room.member", alice.user_id)} <= types


def test_results_bundle_what_relates_to_them(alice: Client, bob: Client, room_id: str) -> None:
    other = create_room(alice)
    root, edited = send(alice, room_id, "walrus root"), send(alice, other, "walrus")
    relate(bob, room_id, root, "m.thread")
    content = {"body": "* x", "msgtype": "m.text", "m.new_content": {"body": "x", "msgtype": "m.text"}}
    edit = relate(alice, other, edited, "m.replace", **content)
    shown = {each["result"]["event_id"]: each["result"] for each in search(alice, "walrus")["results"]}
    assert shown[root]["unsigned"]["m.relations"]["m.thread"]["count"] == 1
    assert shown[edited]["unsigned"]["m.relations"]["m.replace"]["event_id"] == edit


def test_groups_are_paged_by_themselves(alice: Client, bob: Client, room_id: str) -> None:
    other = create_room(alice)
    here, there = send(alice, room_id, "jabberwock"), send(alice, other, "jabberwock")
    his, last = send(bob, room_id, "jabberwock"), send(alice, room_id, "jabberwock")
    grouping = {"group_by": [{"key": "room_id"}, {"key": "sender"}]}
    criteria: dict[str, Any] = {"order_by": "recent", "groupings": grouping, "filter": {"limit": 1}}
    first = search(alice, "jabberwock", **criteria)
    assert found(first) == [last]

    def rest(token: str) -> list[str]:
        events = []
        page: Any = {"next_batch": token}
        while "next_batch" in page:
            page = search(alice, "jabberwock", page["next_batch"], **criteria)
            events += found(page)
        return events

    assert rest(first["next_batch"]) == [his, there, here]
    assert rest(first["groups"]["room_id"][room_id]["next_batch"]) == [his, here]
    assert rest(first["groups"]["sender"][alice.user_id]["next_batch"]) == [there, here]
    criteria["filter"] = {"limit": 9}
    whole = search(alice, "jabberwock", **criteria)
    assert all("next_batch" not in group for some in whole["groups"].values() for group in some.values())


def test_profiles_of_erased_users_are_hidden(alice: Client, bob: Client, make_client: Any) -> None:
    room = create_room(alice, preset="public_chat")
    join(bob, room)
    send(bob, room, "hidden")
    event_id = send(alice, room, "duchess")
    close_account(UserId(bob.user_id), erase=True)
    carol = make_client("carol")
    join(carol, room)
    for client, name in ((carol, {}), (alice, {"displayname": "bob"})):
        answer = search(client, "duchess", event_context={"include_profile": True})
        assert found(answer) == [event_id]
        assert answer["results"][0]["context"]["profile_info"][bob.user_id] == name


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("cafe\u0301 noir", "caf\u00e9"),
        ("\uff34\uff55", "tu"),
        ("हिन्दी में", "हिन्दी"),
        ("Straße", "STRASSE"),
        ("สวัสดีครับ", "สวัสดี"),
    ],
)
def test_words_of_all_scripts(alice: Client, room_id: str, text: str, term: str) -> None:
    event_id = send(alice, room_id, text)
    assert found(search(alice, term)) == [event_id]


@pytest.mark.parametrize(("text", "term"), [("हम न दें", "हिन्दी"), ("cafe\u0301", "cafeteria")])
def test_marks_belong_to_their_words(alice: Client, room_id: str, text: str, term: str) -> None:
    send(alice, room_id, text)
    assert found(search(alice, term)) == []


@pytest.mark.parametrize(("size", "seconds", "read"), [(2_500, 60.0, 2), (10**6, -1.0, 0), (10**6, 60.0, 9)])
def test_no_context_is_read_where_none_has_room_or_time(
    alice: Client, room_id: str, monkeypatch: pytest.MonkeyPatch, size: int, seconds: float, read: int
) -> None:
    """All results are returned. The first context that doesn't fit is the last one that is read."""
    for number in range(9):
        send(alice, room_id, f"walrus {number}")
    genuine, contexts = messages._context_of, []

    def context_of(*args: Any) -> Any:
        contexts.append(genuine(*args))
        return contexts[-1]

    monkeypatch.setattr(messages, "_context_of", context_of)
    monkeypatch.setattr(messages, "CONTEXT_SECONDS", seconds)
    monkeypatch.setattr(messages, "Budget", lambda _: Budget(size))
    answer = search(alice, "walrus", event_context={"before_limit": 4, "after_limit": 0})
    assert (answer["count"], len(answer["results"]), len(contexts)) == (9, 9, read)


def test_wrong_requests(alice: Client, bob: Client, room_id: str) -> None:
    address = f"{V3}/search"

    def body(**criteria: Any) -> dict[str, Any]:
        return {"search_categories": {"room_events": criteria}}

    assert ok(alice.post(address, {"search_categories": {}})) == {"search_categories": {}}
    refused(alice.post(address, {}), 400, "M_MISSING_PARAM")
    refused(alice.post(address, body()), 400, "M_MISSING_PARAM")
    refused(alice.post(address, body(search_term=1)), 400, "M_BAD_JSON")
    refused(alice.post(address, body(search_term="a", order_by="x")), 400, "M_BAD_JSON")
    refused(alice.post(address, body(search_term="a", keys=["x"])), 400, "M_INVALID_PARAM")
    for token in ("x", "", "x.x", "x.IWE"):
        refused(alice.post(address, body(search_term="a"), next_batch=token), 400, "M_INVALID_PARAM")
    send(alice, room_id, "mock")
    send(alice, room_id, "mock")
    token = search(alice, "mock", filter={"limit": 1})["next_batch"]
    refused(bob.post(address, body(search_term="mock"), next_batch=token), 400, "M_INVALID_PARAM")
