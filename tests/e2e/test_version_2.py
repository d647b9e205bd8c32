"""Version 2 of the client API over HTTP, beside today's: one room, two ways to look at it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from local_cloud.testing import LocalCloud
from tests.e2e.raw import V3, Raw, register, segment

V2 = "/_matrix/client/v2"
PATIENCE_S = 60


@pytest.fixture(scope="module")
def people(shared_cloud: LocalCloud) -> Iterator[tuple[Raw, Raw]]:
    found = register(shared_cloud, "alice-of-v2"), register(shared_cloud, "bob-of-v2")
    yield found
    for each in found:
        each.close()


def call(user: Raw, method: str, uri: str, body: Any = None) -> Any:
    answer = user.request(method, uri, b"" if body is None else json.dumps(body).encode())
    assert answer.status == 200, answer.body
    return answer.json


def timeline(user: Raw, room_id: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = call(user, "GET", f"{V3}/sync")["rooms"]["join"][room_id]["timeline"][
        "events"
    ]
    return events


def test_what_is_done_by_version_2_is_seen_by_todays_clients(people: tuple[Raw, Raw]) -> None:
    alice, bob = people
    created = call(
        alice,
        "POST",
        f"{V2}/createRoom?action_id=c1",
        {"preset": "public_chat", "room_alias_name": "second", "response": {"max": 1}},
    )
    room_id = created["room_id"]
    room = f"{V2}/rooms/{segment(room_id)}"
    joined = call(bob, "POST", f"{V2}/join", {"alias": f"#second:{alice.cloud.server_name}", "response": {}})
    assert joined["room_id"] == room_id
    assert joined["response"]["events"][-1]["state_key"] == bob.user_id
    batch = [
        {"type": "m.room.message", "content": {"msgtype": "m.text", "body": "one"}, "action_id": "a1"},
        {"type": "org.example/x", "state_key": "a/b c", "content": {"n": 1}, "action_id": "a2"},
    ]
    sent = call(alice, "POST", f"{room}/send", {"events": batch})["events"]
    mine, theirs = (timeline(each, room_id)[-2:] for each in (alice, bob))
    assert [event["event_id"] for event in mine] == [event["event_id"] for event in sent]
    assert [event["unsigned"].get("transaction_id") for event in mine] == ["a1", "a2"]
    assert [event["unsigned"].get("transaction_id") for event in theirs] == [None, None]
    deleted = call(
        alice, "DELETE", f"{room}/state/{segment('org.example/x')}/{segment('a/b c')}?action_id=d1"
    )
    assert "content" not in deleted["event"]
    assert timeline(bob, room_id)[-1]["content"] == {}


def test_what_is_done_by_todays_clients_is_seen_by_version_2(people: tuple[Raw, Raw]) -> None:
    alice, _ = people
    room_id = alice.create_room(preset="public_chat")
    room = f"{V2}/rooms/{segment(room_id)}"
    parent = alice.send(room_id, "parent")
    relation = {"rel_type": "m.thread", "event_id": parent}
    reply = {"body": "re", "msgtype": "m.text", "m.relates_to": relation}
    call(alice, "PUT", f"{V3}/rooms/{segment(room_id)}/send/m.room.message/r1", reply)
    for number in range(3):
        alice.send(room_id, str(number))
    only = call(alice, "POST", f"{V2}/filter", {"types": ["m.room.mess*"], "relates_to": 2})["filter"]
    tokens = call(alice, "GET", f"{room}/pages?max=2&filter={only}")["tokens"]
    alice.send(room_id, "later")
    read = [
        call(alice, "GET", f"{room}/paginate?max=2&filter={only}&token={each}")["events"] for each in tokens
    ]
    assert [[event["content"]["body"] for event in page] for page in read] == [
        ["parent", "re"],
        ["0", "1"],
        ["2"],
    ]
    [shown] = read[0][0]["replies"]["chunk"]
    window = call(alice, "GET", f"{V2}/events/{segment(shown['event_id'])}/context?max=2")
    assert [event["event_id"] for event in window["events"]][:2] == [parent, shown["event_id"]]


def test_what_a_client_can_do_comes_with_its_users_presence(people: tuple[Raw, Raw]) -> None:
    alice, bob = people
    room_id = alice.create_room(preset="public_chat")
    bob.join(room_id)
    since = call(bob, "GET", f"{V3}/sync")["next_batch"]
    sha256 = call(alice, "POST", f"{V2}/clientCapabilities", {"capabilities": {"m.cap.voip.v1": {}}})[
        "sha256"
    ]
    deadline = time.monotonic() + PATIENCE_S
    shown: list[Any] = []
    while not any(each == [sha256] for each in shown) and time.monotonic() < deadline:
        answer = call(bob, "GET", f"{V3}/sync?since={since}&timeout=5000")
        since = answer["next_batch"]
        events = answer.get("presence", {}).get("events", ())
        shown += [each["content"].get("capabilities") for each in events if each["sender"] == alice.user_id]
    assert [sha256] in shown
