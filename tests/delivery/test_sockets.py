"""The WebSocket API: updates once and in order, requests, and connections that end."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import pytest

from functions.websocket import connect, default, disconnect
from murmuration.aws import dynamodb
from murmuration.clock import now_ms
from murmuration.delivery import socket_news, sockets, wakes
from murmuration.presence.status import STAY_MS
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.protocol.presence import HIDDEN, OFFLINE, ONLINE
from murmuration.storage.live import connections, listeners
from murmuration.storage.rooms import room_items
from murmuration.storage.users import presence
from murmuration.sync import first_look, narrow_look
from tests.delivery.conftest import Wire, invoke
from tests.faults import Way, fault
from tests.in_process import Client, segment
from tests.rooms.people import V3, create_room, join, ok, path, send
from tests.sync.client import Syncing, bodies_of

Make = Callable[..., Client]


class Stream:
    """A client's connection; `updates` and `responses` are what came by it."""

    def __init__(self, wire: Wire, client: Client, name: str = "one", **query: str) -> None:
        self.wire, self.client = wire, client
        self.id = f"{name}-{client.user_id}"
        self.answer = invoke(
            connect.handler,
            {
                "requestContext": {"connectionId": self.id},
                "headers": {"Sec-WebSocket-Protocol": "m.json"},
                "queryStringParameters": {"access_token": client.token, **query},
            },
        )
        if self.answer["statusCode"] == 200:
            wire.open.add(self.id)

    @property
    def updates(self) -> list[Any]:
        return [message for message in self.wire.posted[self.id] if "id" not in message]

    @property
    def responses(self) -> list[Any]:
        return [message for message in self.wire.posted[self.id] if "id" in message]

    def ask(self, message: Any) -> Any:
        """Send a request, and return its response."""
        body = message if isinstance(message, str) else json.dumps(message)
        invoke(default.handler, {"requestContext": {"connectionId": self.id}, "body": body})
        return self.responses[-1]

    def bodies(self, room_id: str) -> list[str]:
        return [body for update in self.updates for body in bodies_of(update, room_id)]


@pytest.fixture
def room(make_client: Make) -> tuple[Client, Client, str]:
    """Return Alice's room, which Bob is in."""
    alice, bob = make_client("alice"), make_client("bob")
    room_id = create_room(alice, preset="public_chat")
    join(bob, room_id)
    return alice, bob, room_id


def tell(room_id: RoomId) -> None:
    head = room_items.read_head(room_id)
    assert head is not None
    wakes.wake_for_log_entries([{"room_id": room_id, "state_root": head.state_root}])


def test_handshake(wire: Wire, make_client: Make) -> None:
    stream = Stream(wire, make_client())
    assert stream.answer == {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "m.json"}}
    wire.run_pushes()
    (first,) = stream.updates
    assert first["next_batch"].startswith("s_")
    assert first["account_data"]["events"]


@pytest.mark.parametrize(
    ("headers", "query", "status", "errcode"),
    [
        ({}, {}, 401, "M_MISSING_TOKEN"),
        ({}, {"access_token": "nonsense"}, 401, "M_UNKNOWN_TOKEN"),
        ({}, {"since": "nonsense"}, 400, "M_INVALID_PARAM"),
        ({}, {"filter": "{"}, 400, "M_INVALID_PARAM"),
        ({"sec-websocket-protocol": "m.cbor, m.xml"}, {}, 400, "M_INVALID_PARAM"),
    ],
)
def test_refused_handshakes(
    wire: Wire, make_client: Make, headers: Any, query: Any, status: int, errcode: str
) -> None:
    if query or headers:
        query = {"access_token": make_client().token} | query
    event = {"requestContext": {"connectionId": "x"}, "headers": headers, "queryStringParameters": query}
    answer = invoke(connect.handler, event)
    assert (answer["statusCode"], json.loads(answer["body"])["errcode"]) == (status, errcode)
    assert connections.read("x") is None


def test_updates_follow_the_token(wire: Wire, room: tuple[Client, Client, RoomId]) -> None:
    alice, bob, room_id = room
    syncing = Syncing(bob)
    syncing.sync()
    send(alice, room_id, "before")
    stream = Stream(wire, bob, since=syncing.since or "")
    wire.run_pushes()
    send(alice, room_id, "after")
    tell(room_id)
    assert wire.run_pushes() == 1
    tell(room_id)
    assert wire.run_pushes() == 1
    assert stream.bodies(room_id) == ["before", "after"]
    again = Stream(wire, bob, "two", since=stream.updates[0]["next_batch"])
    wire.run_pushes()
    assert again.bodies(room_id) == ["after"]


class Narrowly:
    """Bob's connection, with his two rooms; `looks` counts the looks at everything since it was opened."""

    def __init__(self, wire: Wire, make_client: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wire, self.alice, self.bob = wire, make_client("alice"), make_client("bob")
        self.rooms = [RoomId(create_room(self.alice, preset="public_chat")) for _ in range(2)]
        for room_id in self.rooms:
            join(self.bob, room_id)
        self.stream = Stream(wire, self.bob)
        wire.run_pushes()
        self.looks = mock.Mock(wraps=first_look.look)
        monkeypatch.setattr(socket_news, "look", self.looks)

    def shown(self) -> list[list[str]]:
        return [self.stream.bodies(room_id) for room_id in self.rooms]


@pytest.fixture
def narrowly(wire: Wire, make_client: Make, monkeypatch: pytest.MonkeyPatch) -> Narrowly:
    return Narrowly(wire, make_client, monkeypatch)


def test_a_push_looks_once_at_the_room_that_rang(narrowly: Narrowly) -> None:
    first, second = narrowly.rooms
    send(narrowly.alice, first, "told")
    send(narrowly.alice, second, "not told of yet")
    tell(first)
    narrowly.wire.run_pushes()
    assert narrowly.shown() == [["told"], []]
    tell(second)
    narrowly.wire.run_pushes()
    assert narrowly.shown() == [["told"], ["not told of yet"]]
    assert narrowly.looks.call_count == 0


def test_a_push_for_more_than_a_room_looks_at_everything(narrowly: Narrowly) -> None:
    send(narrowly.alice, narrowly.rooms[1], "news")
    wakes.wake({(UserId(narrowly.bob.user_id), wakes.EVERY_DEVICE): None})
    narrowly.wire.run_pushes()
    assert narrowly.shown() == [[], ["news"]]


def test_pushes_look_at_everything_from_time_to_time(
    narrowly: Narrowly, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes that don't ring come then."""
    first, second = narrowly.rooms
    send(narrowly.alice, first, "told")
    send(narrowly.alice, second, "rang nobody")
    with monkeypatch.context() as patch:
        patch.setattr(narrow_look, "EVERYTHING_S", 0)
        tell(first)
        narrowly.wire.run_pushes()
    assert narrowly.shown() == [["told"], ["rang nobody"]]
    narrowly.looks.reset_mock()
    send(narrowly.alice, first, "more")
    tell(first)
    narrowly.wire.run_pushes()
    assert narrowly.looks.call_count == 0, "it isn't time again"


def test_a_push_for_another_room_while_one_is_sent(
    narrowly: Narrowly, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that sends looks once more, at everything."""
    first, second = narrowly.rooms
    post = sockets._post

    def posting(*arguments: Any) -> None:
        monkeypatch.setattr(sockets, "_post", post)
        send(narrowly.alice, second, "meanwhile")
        sockets.push(narrowly.stream.id, [second])
        post(*arguments)

    send(narrowly.alice, first, "news")
    monkeypatch.setattr(sockets, "_post", posting)
    sockets.push(narrowly.stream.id, [first])
    assert narrowly.shown() == [["news"], ["meanwhile"]]


def test_a_push_for_another_room_that_is_done_before_the_claim(
    narrowly: Narrowly, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that comes too late looks at its room again."""
    first, second = narrowly.rooms
    claim = connections.claim

    def claiming(connection: connections.Connection) -> bool:
        monkeypatch.setattr(connections, "claim", claim)
        sockets.push(narrowly.stream.id, [second])
        return claim(connection)

    for room_id in narrowly.rooms:
        send(narrowly.alice, room_id, "news")
    monkeypatch.setattr(connections, "claim", claiming)
    sockets.push(narrowly.stream.id, [first])
    assert narrowly.shown() == [["news"], ["news"]]
    assert narrowly.looks.call_count == 0


def test_filter(wire: Wire, room: tuple[Client, Client, str]) -> None:
    _, bob, room_id = room
    stream = Stream(wire, bob, filter=json.dumps({"room": {"not_rooms": [room_id]}}))
    wire.run_pushes()
    assert "rooms" not in stream.updates[0]


def test_many_workers_tell_once_and_in_order(wire: Wire, room: tuple[Client, Client, str]) -> None:
    alice, bob, room_id = room
    stream = Stream(wire, bob)
    wire.run_pushes()

    def talk(number: int) -> None:
        if number % 3 == 0:
            send(alice, room_id, str(number))
        sockets.push(stream.id)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(talk, range(24)))
    sockets.push(stream.id)
    page = ok(alice.get(path(room_id, "messages"), dir="f", limit=100))["chunk"]
    sent = [event["content"]["body"] for event in page if event["type"] == "m.room.message"]
    assert stream.bodies(room_id) == sent
    assert len(sent) == 8


def test_an_update_is_told_though_the_answer_to_its_claim_was_lost(
    wire: Wire, room: tuple[Client, Client, str]
) -> None:
    alice, bob, room_id = room
    stream = Stream(wire, bob)
    wire.run_pushes()
    send(alice, room_id, "told")
    with fault(0) as whole:
        news = socket_news.news_since(sockets._token(found(stream)), found(stream).since, None)
    assert news is not None
    with fault(whole.writes + 1, Way.TWICE):
        sockets.push(stream.id)
    assert stream.bodies(room_id) == ["told"]
    assert found(stream).claimed_ms is None


def found(stream: Stream) -> connections.Connection:
    connection = connections.read(stream.id)
    assert connection is not None
    return connection


def test_who_stopped_halfway_ends_the_connection(
    wire: Wire, room: tuple[Client, Client, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It isn't known whether the client got the update. The client reconnects with its last position."""
    alice, bob, room_id = room
    stream = Stream(wire, bob)
    wire.run_pushes()
    send(alice, room_id, "doubtful")
    with monkeypatch.context() as patch:
        patch.setattr(connections, "move", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            sockets.push(stream.id)
    sockets.push(stream.id)
    assert stream.id in wire.open
    later = now_ms() + connections.CLAIM_MS + 1
    monkeypatch.setattr(connections, "now_ms", lambda: later)
    sockets.push(stream.id)
    assert stream.id not in wire.open
    assert connections.read(stream.id) is None
    assert stream.bodies(room_id) == ["doubtful"]


def test_gone_connections_are_forgotten(
    wire: Wire, room: tuple[Client, Client, RoomId], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, room_id = room
    stream = Stream(wire, bob)
    wire.run_pushes()
    wire.open.discard(stream.id)
    send(alice, room_id)
    monkeypatch.setattr(sockets, "OPENING_MS", 0)
    tell(room_id)
    wire.run_pushes()
    assert connections.read(stream.id) is None
    assert list(listeners.sockets_in(listeners.read_items([UserId(bob.user_id)]))) == []
    tell(room_id)
    assert wire.run_pushes() == 0


def test_a_token_that_has_expired_begins_anew(wire: Wire, room: tuple[Client, Client, str]) -> None:
    _, bob, room_id = room
    stream = Stream(wire, bob, since="s_AAAAAAAAAAAA")
    assert stream.answer["statusCode"] == 200
    wire.run_pushes()
    assert room_id in stream.updates[0]["rooms"]["join"]


def test_a_connection_that_ended_while_it_was_told_something_stays_gone(deployment: None) -> None:
    connections.move("ended", "s_token", 0)
    assert not connections.call_again("ended")
    assert connections.read("ended") is None


def test_disconnect(wire: Wire, make_client: Make) -> None:
    bob = make_client()
    stream = Stream(wire, bob)
    event = {"requestContext": {"connectionId": stream.id}}
    assert invoke(disconnect.handler, event)["statusCode"] == 200
    assert invoke(disconnect.handler, event)["statusCode"] == 200
    assert list(listeners.sockets_in(listeners.read_items([UserId(bob.user_id)]))) == []


@pytest.mark.parametrize("comes_back", [True, False])
def test_who_does_not_come_back_goes_offline(
    wire: Wire, make_client: Make, monkeypatch: pytest.MonkeyPatch, comes_back: bool
) -> None:
    bob = make_client()
    first = Stream(wire, bob)
    monkeypatch.setattr(sockets, "COMES_BACK_S", 0)
    invoke(disconnect.handler, {"requestContext": {"connectionId": first.id}})
    if comes_back:
        Stream(wire, bob, "two")
    before = presence.from_item(presence.read(UserId(bob.user_id)))
    assert before.shown(now_ms()) == ONLINE
    wire.run_pushes()
    after = presence.from_item(presence.read(UserId(bob.user_id)))
    assert after.shown(now_ms()) == (ONLINE if comes_back else OFFLINE)
    assert (after.changed_ms == before.changed_ms) == comes_back


def test_what_a_device_says_counts_for_its_connection(
    wire: Wire, make_client: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def say(state: str) -> None:
        path = f"/_matrix/client/api/v1/presence/{segment(bob.user_id)}/status"
        ok(bob.put(path, {"presence": state}))

    def seen(after_ms: int = 0) -> str:
        return presence.from_item(presence.read(UserId(bob.user_id))).own(now_ms() + after_ms)

    bob = make_client()
    stream = Stream(wire, bob)
    for state in ("unavailable", "free_for_chat", "offline", "hidden"):
        say(state)
        assert (seen(), seen(2 * STAY_MS)) == (state, state)
    monkeypatch.setattr(sockets, "COMES_BACK_S", 0)
    invoke(disconnect.handler, {"requestContext": {"connectionId": stream.id}})
    Stream(wire, bob, "two")
    wire.run_pushes()
    assert seen(2 * STAY_MS) == HIDDEN
    ok(bob.post(f"{V3}/logout"))
    assert not presence.from_item(presence.read(UserId(bob.user_id))).watches(now_ms())


def test_a_logged_out_device_is_told_nothing(wire: Wire, room: tuple[Client, Client, RoomId]) -> None:
    alice, bob, room_id = room
    stream = Stream(wire, bob)
    wire.run_pushes()
    ok(bob.post(f"{V3}/logout"))
    send(alice, room_id, "secret")
    tell(room_id)
    wire.run_pushes()
    sockets.push(stream.id)
    assert stream.bodies(room_id) == []
    assert stream.id not in wire.open


def test_requests(wire: Wire, room: tuple[Client, Client, str]) -> None:
    _, bob, room_id = room
    stream = Stream(wire, bob)
    assert stream.ask({"id": "1", "method": "ping"}) == {"id": "1", "result": {}}
    params = {
        "room_id": room_id,
        "event_type": "m.room.message",
        "content": {"msgtype": "m.text", "body": "hello"},
    }
    sent = stream.ask({"id": "2", "method": "send", "params": params})
    assert stream.ask({"id": "2", "method": "send", "params": params}) == sent
    found = ok(bob.get(path(room_id, "event", sent["result"]["event_id"])))
    assert found["content"] == {"msgtype": "m.text", "body": "hello"}
    assert found["unsigned"]["transaction_id"] == "2"
    state = {**params, "event_type": "org.example", "state_key": "", "content": {"n": 1}}
    refused = stream.ask({"id": "3", "method": "state", "params": state})
    assert refused["error"]["errcode"] == "M_FORBIDDEN"


def test_state(wire: Wire, make_client: Make) -> None:
    alice = make_client()
    room_id = create_room(alice)
    stream = Stream(wire, alice)
    params = {"room_id": room_id, "event_type": "org.example", "state_key": "k", "content": {"n": 1}}
    assert stream.ask({"id": "1", "method": "state", "params": params})["result"]["event_id"]
    assert ok(alice.get(path(room_id, "state", "org.example", "k"))) == {"n": 1}


@pytest.mark.parametrize(
    ("message", "errcode"),
    [
        ("not json", "M_NOT_JSON"),
        ("[]", "M_BAD_JSON"),
        ({"method": "ping"}, "M_MISSING_PARAM"),
        ({"id": 7, "method": "ping"}, "M_MISSING_PARAM"),
        ({"id": "\ud800", "method": "ping"}, "M_BAD_JSON"),
        ({"id": "1" * 256, "method": "ping"}, "M_TOO_LARGE"),
        ({"id": "1"}, "M_UNRECOGNIZED"),
        ({"id": "1", "method": "dance"}, "M_UNRECOGNIZED"),
        ({"id": "1", "method": "send", "params": []}, "M_BAD_JSON"),
        ({"id": "1", "method": "send", "params": {"room_id": "!x"}}, "M_MISSING_PARAM"),
        (
            {"id": "1", "method": "send", "params": {"room_id": 1, "event_type": "m", "content": {}}},
            "M_BAD_JSON",
        ),
        (
            {"id": "1", "method": "send", "params": {"room_id": "!x", "event_type": "m", "content": 1}},
            "M_BAD_JSON",
        ),
        (
            {"id": "1", "method": "send", "params": {"room_id": "!x", "event_type": "m", "content": {}}},
            "M_FORBIDDEN",
        ),
        *(
            (
                {
                    "id": "1",
                    "method": method,
                    "params": {"room_id": room_id, "event_type": "m", "state_key": "", "content": {}},
                },
                "M_FORBIDDEN",
            )
            for method in ("send", "state")
            for room_id in ("", f"!{'x' * 3000}")
        ),
    ],
)
def test_bad_requests(wire: Wire, make_client: Make, message: Any, errcode: str) -> None:
    response = Stream(wire, make_client()).ask(message)
    assert response["error"]["errcode"] == errcode
    assert "result" not in response


def test_typing_ends_for_sockets_too(
    wire: Wire, room: tuple[Client, Client, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, room_id = room
    stream = Stream(wire, bob)
    wire.run_pushes()
    ok(alice.put(path(room_id, "typing", alice.user_id), {"typing": True, "timeout": 5_000}))
    sockets.push(stream.id)
    queue = wire.sqs.queue("murmuration-test-socket-pushes")
    assert queue.counts()[2] == 1, "a look at the time that typing ends is ordered"
    monkeypatch.setattr("murmuration.sync.engine.now_ms", lambda: now_ms() + 5_001)
    sockets.push(stream.id)
    typing = [
        event["content"]["user_ids"]
        for update in stream.updates[1:]
        for event in update["rooms"]["join"][room_id]["ephemeral"]["events"]
    ]
    assert typing == [[alice.user_id], []]


def test_to_device_messages_wait_for_the_client_to_come_back(wire: Wire, make_client: Make) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    stream = Stream(wire, bob)
    wire.run_pushes()
    body = {"messages": {bob.user_id: {bob.device_id: {"n": 1}}}}
    ok(alice.put(f"{V3}/sendToDevice/org.example/1", body))
    for _ in range(2):
        sockets.push(stream.id)
    assert len([update for update in stream.updates if "to_device" in update]) == 1
    lost = Stream(wire, bob, "two", since=stream.updates[0]["next_batch"])
    wire.run_pushes()
    assert "to_device" in lost.updates[0]
    found = Stream(wire, bob, "three", since=lost.updates[0]["next_batch"])
    wire.run_pushes()
    assert found.updates == []


def test_a_large_first_update_comes_in_parts(wire: Wire, room: tuple[Client, Client, str]) -> None:
    alice, bob, room_id = room
    for number in range(6):
        send(alice, room_id, {"msgtype": "m.text", "body": str(number), "filler": "x" * 30_000})
    stream = Stream(wire, bob)
    wire.run_pushes()
    assert len(stream.updates) > 1
    assert stream.bodies(room_id) == [str(number) for number in range(6)]
    assert [bool(update.get("next_batch")) for update in stream.updates][-1] is True
    assert not any("next_batch" in update for update in stream.updates[:-1])


def test_the_table_expires(wire: Wire, make_client: Make) -> None:
    stream = Stream(wire, make_client())
    item = dynamodb.get("connections", {"connection_id": stream.id})
    assert item is not None
    assert 7_200 < item["expires"] - now_ms() // 1000 < 8_000
    assert "secret" not in json.dumps(item)
