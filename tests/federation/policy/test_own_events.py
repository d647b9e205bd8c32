"""Events of this server in a room with a policy server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from murmuration.federation.policy import asking
from murmuration.protocol.errors import Unavailable
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.protocol.pdus.validation import PolicyServer as Named
from murmuration.protocol.pdus.validation import check_policy_server_signature
from murmuration.rooms.room import Room
from murmuration.rooms.writing import policy_port
from murmuration.rooms.writing.append import Draft, append
from murmuration.storage.rooms import room_items
from tests.budgets.meter import Meter
from tests.federation.network import Reply
from tests.federation.peers import Peer, share_room
from tests.federation.policy.conftest import PolicyServer, guard
from tests.in_process import Client
from tests.rooms.other_servers import Mirror, log_ids
from tests.rooms.people import create_room, join, ok, path, redact, refused, send, set_state


def newest(mirror: Mirror) -> Any:
    return room_items.read_log(RoomId(mirror.room_id), mirror.version)[-1].event


def is_endorsed(event: Any, policy: PolicyServer) -> bool:
    check_policy_server_signature(event, Named(policy.name, policy.policy_key.public_base64))
    return "example.org" in event.pdu["signatures"]


@pytest.mark.parametrize("version", ["1", "11", "12"])
def test_each_event_is_signed_before_it_is_sent(
    alice: Client, bob: Client, peer: Peer, policy: PolicyServer, version: str
) -> None:
    mirror = share_room(alice, policy, version=version)
    guard(alice, mirror, policy)
    assert policy.judged == [], "the event that names it needs no signature"
    event_id = send(alice, mirror.room_id, "hello")
    assert is_endorsed(newest(mirror), policy)
    assert newest(mirror).event_id == event_id
    assert set(newest(mirror).pdu["signatures"]) == {"example.org", policy.name}
    set_state(alice, mirror.room_id, "m.room.topic", {"topic": "tea"})
    assert is_endorsed(newest(mirror), policy)
    join(bob, mirror.room_id)
    assert is_endorsed(newest(mirror), policy)
    redact(alice, mirror.room_id, event_id)
    assert is_endorsed(newest(mirror), policy)
    ok(alice.post(path(mirror.room_id, "kick"), {"user_id": bob.user_id}))
    assert is_endorsed(newest(mirror), policy)
    set_state(alice, mirror.room_id, "m.room.policy", {}, "other")
    assert is_endorsed(newest(mirror), policy)
    send(alice, mirror.room_id, {}, "m.room.policy")
    assert is_endorsed(newest(mirror), policy)
    assert len(policy.judged) == 7
    asked = policy.server.received[-1] if policy.server else None
    assert asked is not None
    assert asked.headers["authorization"].startswith("X-Matrix ")


@pytest.mark.parametrize(
    ("status", "errcode"),
    [(400, "M_FORBIDDEN"), (400, "M_BAD_JSON"), (403, "M_FORBIDDEN"), (404, "M_NOT_FOUND")],
)
def test_a_refusal_is_told_in_its_own_words(
    alice: Client, mirror: Mirror, policy: PolicyServer, status: int, errcode: str
) -> None:
    body = {"errcode": errcode, "error": "This looks like spam", "example.score": 7}
    policy.forbid("spam", Reply(body, status))
    before = log_ids(mirror.room_id)
    answer = alice.put(
        path(mirror.room_id, "send", "m.room.message", "t1"), {"msgtype": "m.text", "body": "spam"}
    )
    assert (answer.status, answer.json) == (status, body)
    topic = alice.put(path(mirror.room_id, "state", "m.room.topic"), {"topic": "spam"})
    assert (topic.status, topic.json) == (status, body)
    assert log_ids(mirror.room_id) == before
    again = alice.put(
        path(mirror.room_id, "send", "m.room.message", "t1"), {"msgtype": "m.text", "body": "fine"}
    )
    assert ok(again)["event_id"] == log_ids(mirror.room_id)[-1], "the transaction ID was not used"


@pytest.mark.parametrize(
    ("reply", "status", "errcode"),
    [
        ({}, 403, "M_FORBIDDEN"),
        ({"policy": {"ed25519:policy_server": "A" * 86}}, 403, "M_FORBIDDEN"),
        (Reply({"errcode": "M_UNKNOWN", "error": "?"}, 500), 502, "M_UNKNOWN"),
        (Reply({"errcode": "M_UNKNOWN_TOKEN", "error": "?"}, 401), 502, "M_UNKNOWN"),
        (Reply(b"no JSON"), 502, "M_UNKNOWN"),
        (Reply({"errcode": "M_FORBIDDEN", "error": "\ud800"}, 400), 403, "M_FORBIDDEN"),
        (Reply({"errcode": "M_FORBIDDEN", "error": "no", "more": "x" * 5_000}, 400), 403, "M_FORBIDDEN"),
        (Reply({"error": "no code"}, 400), 403, "M_FORBIDDEN"),
    ],
)
def test_answers_that_are_no_signature(
    alice: Client, mirror: Mirror, policy: PolicyServer, reply: Any, status: int, errcode: str
) -> None:
    policy.judge = lambda _: reply
    answer = alice.put(
        path(mirror.room_id, "send", "m.room.message", "t1"), {"msgtype": "m.text", "body": "hello"}
    )
    refused(answer, status, errcode)


def test_an_event_without_room_for_the_signature(alice: Client, mirror: Mirror, policy: PolicyServer) -> None:
    """The signed event would be too large for all other servers."""
    where = path(mirror.room_id, "send", "m.room.message", "t1")
    low, high = 60_000, 65_536
    while high - low > 1:
        middle = (low + high) // 2
        asked = len(policy.judged)
        alice.put(
            path(mirror.room_id, "send", "m.room.message", f"s{middle}"),
            {"msgtype": "m.text", "body": "x" * middle},
        )
        low, high = (middle, high) if len(policy.judged) > asked else (low, middle)
    refused(alice.put(where, {"msgtype": "m.text", "body": "x" * low}), 413, "M_TOO_LARGE")
    ok(alice.put(where, {"msgtype": "m.text", "body": "x" * (low - 500)}))


def test_a_wrong_signature(alice: Client, mirror: Mirror, policy: PolicyServer) -> None:
    """The room names another key than the one with which the policy server signs."""
    other = {policy.name: {"ed25519:policy_server": "A" * 86}}
    policy.judge = lambda _: other
    answer = alice.put(
        path(mirror.room_id, "send", "m.room.message", "t1"), {"msgtype": "m.text", "body": "hello"}
    )
    refused(answer, 403, "M_FORBIDDEN")


def test_a_policy_server_that_asks_for_patience(alice: Client, mirror: Mirror, policy: PolicyServer) -> None:
    body = {"errcode": "M_LIMIT_EXCEEDED", "error": "Slow down", "retry_after_ms": 5_000}
    policy.judge = lambda _: Reply(body, 429)
    answer = alice.put(
        path(mirror.room_id, "send", "m.room.message", "t1"), {"msgtype": "m.text", "body": "hello"}
    )
    refused(answer, 429, "M_LIMIT_EXCEEDED")
    assert answer.json["retry_after_ms"] == 5_000


def test_one_that_is_down_can_be_disabled(
    alice: Client, mirror: Mirror, policy: PolicyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(asking, "SECONDS", 0.0)
        answer = alice.put(
            path(mirror.room_id, "send", "m.room.message", "t1"), {"msgtype": "m.text", "body": "hello"}
        )
        refused(answer, 504, "M_UNKNOWN")
    answer = alice.put(
        path(mirror.room_id, "send", "m.room.message", "t1"), {"msgtype": "m.text", "body": "hello"}
    )
    refused(answer, 502, "M_UNKNOWN")
    set_state(alice, mirror.room_id, "m.room.policy", {})
    send(alice, mirror.room_id, "hello")
    assert policy.judged == []


def test_when_a_room_uses_one(alice: Client, policy: PolicyServer) -> None:
    """A user of the policy server must have joined, and the event must have the server's name and key."""
    mirror = share_room(alice)
    guard(alice, mirror, policy)
    send(alice, mirror.room_id, "nobody of the policy server is in the room")
    policy.mirror = mirror
    user = UserId(f"@bob:{policy.name}")
    assert mirror.kinds(policy.endorse(mirror.member(user, user, "join"))) == ["accepted"]
    send(alice, mirror.room_id, "it has joined")
    wrongs: list[dict[str, Any]] = [
        {"via": 7},
        {"public_keys": {}},
        {"public_keys": {"ed25519": 7}},
        {"public_keys": None},
    ]
    for wrong in wrongs:
        guard(alice, mirror, policy, **wrong)
        send(alice, mirror.room_id, "it is not named")
    guard(alice, mirror, policy)
    mirror.send(policy.endorse(mirror.member(user, user, "leave")))
    send(alice, mirror.room_id, "it has left")
    assert policy.texts == ["it has joined"]


def test_a_new_room_needs_none(alice: Client, policy: PolicyServer) -> None:
    content = {"via": policy.name, "public_keys": {"ed25519": policy.policy_key.public_base64}}
    state = [{"type": "m.room.policy", "state_key": "", "content": content}]
    send(alice, create_room(alice, initial_state=state), "hello")
    assert policy.judged == []


def test_an_invite_is_signed_before_it_goes_to_the_user_s_server(
    alice: Client, mirror: Mirror, peer: Peer, policy: PolicyServer
) -> None:
    asked: list[Any] = []

    def refuse() -> Reply:
        asked.append(1)
        return Reply({"errcode": "M_FORBIDDEN", "error": "no"}, 403)

    peer.lies["invite"] = refuse
    policy.judge = lambda _: Reply({"errcode": "M_FORBIDDEN", "error": "No invites"}, 400)
    invite = {"user_id": f"@carol:{peer.name}"}
    answer = alice.post(path(mirror.room_id, "invite"), invite)
    refused(answer, 400, "M_FORBIDDEN")
    assert (answer.json["error"], asked) == ("No invites", [])


def test_a_busy_room_asks_once_for_each_message(alice: Client, mirror: Mirror, policy: PolicyServer) -> None:
    """A signed event that lost a race is sent unchanged: it keeps the previous events for which it was
    signed.
    """
    others: list[str] = []

    def judge(pdu: dict[str, Any]) -> bool:
        if pdu["content"].get("body") == "slow" and not others:
            others.append(send(alice, mirror.room_id, "quick"))
        return True

    policy.judge = judge
    slow = send(alice, mirror.room_id, "slow")
    assert policy.texts == ["slow", "quick"]
    assert log_ids(mirror.room_id)[-2:] == [others[0], slow]
    assert set(Room.load(RoomId(mirror.room_id)).head.extremities) == {others[0], slow}
    after = send(alice, mirror.room_id, "after")
    assert set(newest(mirror).prev_events) == {others[0], slow}
    assert Room.load(RoomId(mirror.room_id)).head.extremities == (after,)
    mirror.catch_up()
    assert mirror.newest() == [after]


def test_a_change_of_state_has_it_asked_again(alice: Client, mirror: Mirror, policy: PolicyServer) -> None:
    topics: list[str] = []

    def judge(pdu: dict[str, Any]) -> bool:
        if pdu["content"].get("body") == "slow" and not topics:
            topics.append(set_state(alice, mirror.room_id, "m.room.topic", {"topic": "tea"}))
        return True

    policy.judge = judge
    send(alice, mirror.room_id, "slow")
    assert policy.texts == ["slow", "m.room.topic", "slow"]
    assert Room.load(RoomId(mirror.room_id)).head.extremities == (log_ids(mirror.room_id)[-1],)


def test_several_at_once(alice: Client, mirror: Mirror, policy: PolicyServer) -> None:
    with ThreadPoolExecutor(4) as threads:
        sent = list(threads.map(lambda number: send(alice, mirror.room_id, f"m{number}"), range(8)))
    assert set(sent) <= set(log_ids(mirror.room_id))
    assert sorted(policy.texts) == sorted(f"m{number}" for number in range(8))


def test_what_cannot_ask_sends_nothing(
    alice: Client, mirror: Mirror, policy: PolicyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_port, "_connected", [])
    before = log_ids(mirror.room_id)
    with pytest.raises(Unavailable):
        append(RoomId(mirror.room_id), lambda batch: batch.add(Draft("m.x", UserId(alice.user_id), {})))
    assert log_ids(mirror.room_id) == before


def test_what_it_costs(alice: Client, mirror: Mirror, policy: PolicyServer) -> None:
    """Finding that a room uses a policy server takes no extra reads, and at most one unit."""
    other = create_room(alice)
    for room_id in (other, mirror.room_id):
        send(alice, room_id, "warm")
    with Meter() as without:
        send(alice, other, "hello")
    with Meter() as guarded:
        send(alice, mirror.room_id, "hello")
    assert guarded.spent.round_trips <= without.spent.round_trips + 1, str(guarded.spent)
    assert guarded.spent.read_units <= without.spent.read_units + 1, str(guarded.spent)
