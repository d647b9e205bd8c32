"""Sending to many servers: the costs, and that no server waits long for another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from murmuration.aws import dynamodb
from murmuration.federation.outbound import transactions
from murmuration.federation.outbound.ordering import order_sending
from murmuration.protocol.identifiers import RoomId, ServerName
from murmuration.storage.rooms import member_index
from murmuration.storage.servers import backlogs
from tests.budgets.meter import Meter
from tests.federation.network import Reply
from tests.federation.outbound import Peer, Workers, room_of
from tests.in_process import Client
from tests.rooms.people import create_room, send


def add_servers(room_id: RoomId, *names: ServerName) -> None:
    """Let servers count as joined."""
    keys = [member_index._server_key(room_id, name) for name in names]
    dynamodb.batch_write([dynamodb.put("rooms", {**key, "joined": 1}) for key in keys])


def test_slow_server_holds_up_nobody_for_long(
    alice: Client, workers: Workers, make_peer: Callable[[], Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slow server is then behind. The others get the event before its time is over."""
    slow, quick = make_peer(), make_peer()
    room_id = room_of(alice, workers, slow, quick).room_id
    go_on, genuine = threading.Event(), transactions.send

    def send_impatiently(name: ServerName, *arguments: Any, seconds: float) -> Any:
        return genuine(name, *arguments, seconds=1.0 if name == slow.name else seconds)

    monkeypatch.setattr(transactions, "send", send_impatiently)

    def hang(_: dict[str, Any]) -> Reply:
        go_on.wait(60)
        return Reply({}, 500)

    slow.answer = hang
    send(alice, room_id, "first")
    workers.run(room_id)
    assert quick.bodies == ["first"]
    assert backlogs.read(ServerName(slow.name)) is not None
    send(alice, room_id, "second")
    workers.run(room_id)
    go_on.set()
    assert quick.bodies == ["first", "second"]
    assert len(slow.tried) == 1


def test_room_that_is_closed_to_others(alice: Client, workers: Workers, peer: Peer) -> None:
    """Servers may be recorded as joined, but the room's create event says that it doesn't federate."""
    closed = RoomId(create_room(alice, creation_content={"m.federate": False}))
    key = {"room_id": closed, "sk": "head"}
    dynamodb.execute(dynamodb.update("rooms", key, "SET federated = :yes", values={":yes": True}))
    add_servers(closed, ServerName(peer.name))
    send(alice, closed, "among us")
    workers.order(closed)
    assert workers.messages() == []


def test_local_rooms_cost_nothing(alice: Client, workers: Workers) -> None:
    from murmuration.delivery.wakes import wake_for_log_entries

    room_id = create_room(alice)
    for _ in range(2):
        workers.skip(room_id)
        send(alice, room_id, "among us")
        (item,) = dynamodb.query("room-log", "room_id = :room", {":room": room_id}, limit=1, forward=False)
        wake_for_log_entries([item])
        with Meter() as meter:
            workers.order(room_id)
        # The test itself reads the log.
        assert [it.operation for it in meter.spent.requests] == ["Query"]
        assert workers.messages() == []


def test_budget_of_a_message_to_500_servers(alice: Client, workers: Workers, make_peer: Any) -> None:
    peer = make_peer()
    mirror = room_of(alice, workers, peer)
    names = [ServerName(f"s{number}-{peer.name}") for number in range(499)]
    add_servers(mirror.room_id, *names)
    workers.order(mirror.room_id)
    send(alice, mirror.room_id, "to all")
    item = dynamodb.query("room-log", "room_id = :room", {":room": mirror.room_id}, limit=1, forward=False)[0]
    with Meter() as meter:
        order_sending([item])
    assert meter.spent.write_units == 0
    assert meter.spent.read_units <= 20
    records = workers.messages()
    assert len(records) == 8
    assert sum(record["body"].count(peer.name) for record in records) == 500
    sent: list[str] = []

    def deliver(name: str, *_: Any, **__: Any) -> transactions.Outcome:
        sent.append(name)
        return transactions.Outcome.DELIVERED

    with pytest.MonkeyPatch.context() as patch, Meter() as meter:
        patch.setattr(transactions, "send", deliver)
        for record in records:
            workers.handle(record)
    assert sorted(sent) == sorted([*names, peer.name])
    assert meter.spent.write_units == 0
    assert meter.spent.read_units <= 500 * 1.5 + 8 * 2
