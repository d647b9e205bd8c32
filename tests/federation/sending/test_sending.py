"""Sending events to other servers: recipients, order, and failures."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from murmuration.aws import dynamodb
from murmuration.federation.outbound import transactions
from murmuration.federation.requests import health
from murmuration.protocol.identifiers import RoomId, ServerName, UserId
from murmuration.storage.servers import backlogs, destinations
from tests.budgets.meter import Meter
from tests.federation.conftest import Clock
from tests.federation.network import Network, Reply
from tests.federation.outbound import Peer, Workers, bodies, room_of
from tests.in_process import Client
from tests.local_cloud.waiting import PATIENCE_S
from tests.rooms.other_servers import Mirror
from tests.rooms.people import create_room, ok, path, send, set_state

if TYPE_CHECKING:
    from murmuration.aws.dynamodb import Key

HOUR = 3600


def is_behind(peer: Peer) -> bool:
    """Return whether anything is stored about the server besides its health."""
    found = backlogs.read(ServerName(peer.name)) is not None
    assert (
        found
        is bool(backlogs.read_owed(ServerName(peer.name)))
        is (peer.name in dict(backlogs.read_waiting()))
    )
    return found


# -- To whom ---------------------------------------------------------------------------------------------


def test_message_goes_to_each_server_once(
    alice: Client, workers: Workers, make_peer: Callable[[], Peer]
) -> None:
    peers = [make_peer() for _ in range(3)]
    room_id = room_of(alice, workers, *peers).room_id
    event_id = send(alice, room_id, "hello")
    workers.run(room_id)
    for peer in peers:
        ((_, transaction),) = peer.taken
        assert transaction["origin"] == "example.org"
        (pdu,) = transaction["pdus"]
        assert (pdu["sender"], pdu["content"]["body"]) == (alice.user_id, "hello")
        assert "unsigned" not in pdu
        assert set(pdu["signatures"]) == {"example.org"}
        assert not is_behind(peer)
    assert event_id.startswith("$")


def test_whoever_leaves_is_told_and_then_no_more(
    alice: Client, workers: Workers, make_peer: Callable[[], Peer]
) -> None:
    gone, stays = make_peer(), make_peer()
    room_id = room_of(alice, workers, gone, stays).room_id
    ok(alice.post(path(room_id, "kick"), {"user_id": f"@user:{gone.name}"}))
    workers.run(room_id)
    send(alice, room_id, "among us")
    workers.run(room_id)
    assert [pdu["type"] for _, it in gone.taken for pdu in it["pdus"]] == ["m.room.member"]
    assert stays.bodies == ["among us"]


def test_whose_invite_is_taken_back_is_told(alice: Client, workers: Workers, peer: Peer) -> None:
    """The server is in none of our rooms. Nothing else is sent to it."""
    room_id = RoomId(create_room(alice))
    user_id = f"@user:{peer.name}"
    mirror = Mirror(room_id)
    assert mirror.kinds(mirror.member(UserId(alice.user_id), user_id, "invite")) == ["accepted"]
    workers.run(room_id)
    assert peer.tried == [], "the invite itself goes to it by a request of its own"
    ok(alice.post(path(room_id, "kick"), {"user_id": user_id}))
    workers.run(room_id)
    assert [pdu["content"]["membership"] for _, it in peer.taken for pdu in it["pdus"]] == ["leave"]


def test_events_of_others_are_not_sent(alice: Client, workers: Workers, peer: Peer, fresh_name: str) -> None:
    mirror = room_of(alice, workers, peer)
    user_id = UserId(f"@user:other-{fresh_name}")
    mirror.send(mirror.member(user_id, user_id, "join"), mirror.message(user_id, "mine"))
    workers.order(mirror.room_id)
    assert workers.messages() == []


def test_relayed_event_goes_to_all_but_its_sender(
    alice: Client, workers: Workers, make_peer: Callable[[], Peer]
) -> None:
    """A join with this server's help is relayed in this way."""
    joining, other = make_peer(), make_peer()
    mirror = room_of(alice, workers, joining, other)
    mirror.send(mirror.message(UserId(f"@user:{joining.name}"), "by our help"))
    key: Key = {"room_id": mirror.room_id, "ordinal": max(_ordinals(mirror.room_id))}
    dynamodb.execute(dynamodb.update("room-log", key, "SET relayed = :yes", values={":yes": True}))
    workers.run(mirror.room_id)
    assert (joining.tried, other.bodies) == ([], ["by our help"])


def test_denied_servers_get_events_while_they_are_in_the_room(
    alice: Client, workers: Workers, make_peer: Callable[[], Peer]
) -> None:
    """The ACL restricts only the events that they send."""
    denied, allowed = make_peer(), make_peer()
    room_id = room_of(alice, workers, denied, allowed).room_id
    set_state(alice, room_id, "m.room.server_acl", {"allow": ["*"], "deny": [denied.name]})
    workers.skip(room_id)
    send(alice, room_id, "for all")
    workers.run(room_id)
    assert denied.bodies == allowed.bodies == ["for all"]
    kicked = f"@user:{denied.name}"
    ok(alice.post(path(room_id, "kick"), {"user_id": kicked}))
    send(alice, room_id, "for who is there")
    workers.run(room_id)
    assert allowed.bodies == ["for all", "for who is there"]
    assert "for who is there" not in denied.bodies


def test_who_joined_after_an_event_does_not_get_it(
    alice: Client, workers: Workers, make_peer: Callable[[], Peer]
) -> None:
    there, late = make_peer(), make_peer()
    mirror = room_of(alice, workers, there)
    send(alice, mirror.room_id, "before")
    mirror.catch_up()
    user_id = UserId(f"@user:{late.name}")
    assert mirror.kinds(mirror.member(user_id, user_id, "join")) == ["accepted"]
    send(alice, mirror.room_id, "after")
    workers.run(mirror.room_id)
    assert (there.bodies, late.bodies) == (["before", "after"], ["after"])


# -- Order, limits, repetition ---------------------------------------------------------------------------


def test_order_and_limits_of_transactions(alice: Client, workers: Workers, peer: Peer) -> None:
    room_id = room_of(alice, workers, peer).room_id
    texts = [f"{number}" for number in range(60)] + [f"{number}".ljust(40_000, ".") for number in range(30)]
    for text in texts:
        send(alice, room_id, text)
    workers.run(room_id)
    assert peer.bodies == texts
    sizes = [len(it["pdus"]) for _, it in peer.taken]
    assert sizes[0] == transactions.MOST_PDUS
    assert all(len(str(it)) < 1_048_576 for _, it in peer.taken)
    assert len({txn_id for txn_id, _ in peer.taken}) == len(peer.taken)


def test_same_message_twice_is_one_transaction(alice: Client, workers: Workers, peer: Peer) -> None:
    """This happens when a worker stops after sending."""
    room_id = room_of(alice, workers, peer).room_id
    send(alice, room_id, "once")
    workers.order(room_id)
    (record,) = workers.messages()
    workers.handle(record)
    workers.handle(record)
    assert peer.taken[0] == peer.taken[1]


def test_order_comes_twice(alice: Client, workers: Workers, peer: Peer) -> None:
    """The queue accepts it once."""
    room_id = room_of(alice, workers, peer).room_id
    send(alice, room_id, "once")
    before = dict(workers._seen)
    workers.order(room_id)
    workers._seen = before
    workers.order(room_id)
    assert len(workers.messages()) == 1


# -- Failing ---------------------------------------------------------------------------------------------


def test_after_minutes_everything_comes_in_order(
    alice: Client, workers: Workers, network: Network, peer: Peer, moving_clock: Clock
) -> None:
    rooms = [room_of(alice, workers, peer).room_id for _ in range(2)]
    peer.stop(network)
    for number in range(4):
        send(alice, rooms[number % 2], f"missed {number}")
        workers.run(*rooms)
    assert is_behind(peer)
    moving_clock.advance(12 * 60 + 1)
    network.at(peer.name, 8448, peer.server)  # type: ignore[arg-type]
    workers.tick()
    assert sorted(peer.bodies) == [f"missed {number}" for number in range(4)]
    assert peer.bodies[0] == "missed 0", "what failed first is sent first, as it was"
    assert [it for it in peer.bodies if it[-1] in "13"] == ["missed 1", "missed 3"]
    assert not is_behind(peer)
    send(alice, rooms[0], "now")
    workers.run(*rooms)
    assert peer.bodies[-1] == "now"


def test_after_hours_the_newest_of_each_room_comes(
    alice: Client, workers: Workers, network: Network, peer: Peer, moving_clock: Clock
) -> None:
    rooms = [room_of(alice, workers, peer).room_id for _ in range(2)]
    peer.stop(network)
    for number in range(6):
        send(alice, rooms[number % 2], f"missed {number}")
        workers.run(*rooms)
    for _ in range(4):
        moving_clock.advance(HOUR)
        workers.tick()
    network.at(peer.name, 8448, peer.server)  # type: ignore[arg-type]
    moving_clock.advance(24 * HOUR)
    workers.tick()
    assert peer.bodies == ["missed 0", "missed 4", "missed 5"], "what was on its way, then the newest"
    assert not is_behind(peer)


def test_backoff_grows_and_a_dead_server_costs_nothing(
    alice: Client, workers: Workers, network: Network, make_peer: Callable[[], Peer], moving_clock: Clock
) -> None:
    dead, alive = make_peer(), make_peer()
    room_id = room_of(alice, workers, dead, alive).room_id
    dead.stop(network)
    send(alice, room_id, "first")
    workers.run(room_id)
    before = workers.invocations
    with Meter() as meter:
        send(alice, room_id, "second")
        workers.order(room_id)
        records = workers.messages()
        meter_from = len(meter.spent.requests)
        for record in records:
            workers.handle(record)
    assert sum(it.write_units for it in meter.spent.requests[meter_from:]) == 0
    assert workers.messages() == []
    assert workers.invocations - before <= 2
    waits = []
    for _ in range(10):
        found = destinations.read(ServerName(dead.name))
        waits.append(found.interval_ms)
        moving_clock.advance(found.interval_ms / 1000 - 2)
        workers.tick()
        assert destinations.read(ServerName(dead.name)) == found, "too early"
        moving_clock.advance(3)
        workers.tick()
    assert waits[0] < 13 * 60_000
    assert waits == sorted(waits)
    assert waits[-1] == health.LONGEST_MS
    assert alive.bodies == ["first", "second"]


@pytest.mark.parametrize("status", [500, 502, 404])
def test_errors_of_the_server_are_failures(
    alice: Client, workers: Workers, peer: Peer, moving_clock: Clock, status: int
) -> None:
    room_id = room_of(alice, workers, peer).room_id
    peer.answer = lambda _: Reply({"errcode": "M_UNKNOWN"}, status)
    send(alice, room_id, "later")
    workers.run(room_id)
    workers.tick()
    assert len(peer.tried) == 1
    assert destinations.read(ServerName(peer.name)).failing_since_ms
    peer.answer = None
    moving_clock.advance(13 * 60)
    workers.tick()
    assert (peer.bodies, peer.tried[0]) == (["later"], peer.tried[1])
    assert not is_behind(peer)


def test_rate_limit_is_honoured_and_no_failure(
    alice: Client, workers: Workers, peer: Peer, moving_clock: Clock
) -> None:
    room_id = room_of(alice, workers, peer).room_id
    peer.answer = lambda _: Reply({"errcode": "M_LIMIT_EXCEEDED"}, 429, {"Retry-After": "90"})
    send(alice, room_id, "later")
    workers.run(room_id)
    assert destinations.read(ServerName(peer.name)).failing_since_ms == 0
    peer.answer = None
    moving_clock.advance(80)
    workers.tick()
    assert len(peer.tried) == 1
    moving_clock.advance(20)
    workers.tick()
    assert peer.bodies == ["later"]


def test_what_is_refused_counts_as_delivered_after_some_tries(
    alice: Client, workers: Workers, peer: Peer, moving_clock: Clock
) -> None:
    room_id = room_of(alice, workers, peer).room_id
    peer.answer = lambda it: Reply({"errcode": "M_BAD"}, 400 if "bad" in str(it) else 200)
    send(alice, room_id, "bad")
    workers.run(room_id)
    send(alice, room_id, "good")
    workers.run(room_id)
    assert destinations.read(ServerName(peer.name)).failing_since_ms == 0
    for _ in range(10):
        moving_clock.advance(20 * 60)
        workers.tick()
    assert len([it for it in peer.tried if "bad" in bodies([it])]) == 5
    assert peer.bodies == ["good"]
    assert not is_behind(peer)


def test_request_of_the_server_ends_its_backoff(
    alice: Client, workers: Workers, network: Network, peer: Peer
) -> None:
    room_id = room_of(alice, workers, peer).room_id
    peer.stop(network)
    send(alice, room_id, "missed")
    workers.run(room_id)
    network.at(peer.name, 8448, peer.server)  # type: ignore[arg-type]
    workers.tick()
    assert peer.bodies == []
    health.well(ServerName(peer.name))  # what the authentication of a request does
    workers.tick()
    assert peer.bodies == ["missed"]


# -- Workers that stop, and side by side -----------------------------------------------------------------


def test_worker_stops_between_sending_and_noting(
    alice: Client, workers: Workers, network: Network, peer: Peer, moving_clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    room_id = room_of(alice, workers, peer).room_id
    peer.stop(network)
    for number in range(3):
        send(alice, room_id, f"missed {number}")
        workers.run(room_id)
    network.at(peer.name, 8448, peer.server)  # type: ignore[arg-type]
    moving_clock.advance(13 * 60)

    def stop(*_: Any) -> None:
        raise SystemExit

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(backlogs, "advance", stop)
            with pytest.raises(SystemExit):
                workers.tick()
        moving_clock.advance(11 * 60)  # the claim is over, and the server due again
    workers.messages()
    workers.tick()
    assert peer.taken[0] == peer.taken[1] == peer.taken[2], "the same ID and body until it was noted"
    assert list(dict.fromkeys(peer.bodies)) == ["missed 0", "missed 1", "missed 2"]
    assert not is_behind(peer)


def test_two_workers_at_one_server(
    alice: Client, workers: Workers, network: Network, peer: Peer, moving_clock: Clock
) -> None:
    """Only one transaction is sent at a time, and no event that is sent meanwhile is lost."""
    room_id = room_of(alice, workers, peer).room_id
    peer.stop(network)
    send(alice, room_id, "first")
    workers.run(room_id)
    send(alice, room_id, "second")
    workers.run(room_id)
    moving_clock.advance(13 * 60)
    network.at(peer.name, 8448, peer.server)  # type: ignore[arg-type]
    arrived, go_on = threading.Event(), threading.Event()
    at_once = []

    def answer(_: dict[str, Any]) -> Reply:
        at_once.append(len(peer.tried) - len(peer.taken))
        arrived.set()
        assert go_on.wait(PATIENCE_S)
        return Reply({"pdus": {}})

    peer.answer = answer
    first = threading.Thread(target=workers.tick)
    first.start()
    assert arrived.wait(PATIENCE_S)
    from murmuration.federation.outbound import catching_up

    catching_up.catch_up(ServerName(peer.name))  # the other worker has the claim
    send(alice, room_id, "third")
    workers.order(room_id)
    records = workers.messages()
    for record in records:
        workers.handle(record)
    go_on.set()
    first.join(PATIENCE_S)
    assert not first.is_alive()
    assert peer.bodies == ["first", "second", "third"]
    assert set(at_once) == {1}
    assert not is_behind(peer)


def test_what_comes_while_the_log_was_read_is_not_struck_off(
    alice: Client, workers: Workers, network: Network, peer: Peer, moving_clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    room_id = room_of(alice, workers, peer).room_id
    peer.stop(network)
    send(alice, room_id, "first")
    workers.run(room_id)
    moving_clock.advance(13 * 60)
    network.at(peer.name, 8448, peer.server)  # type: ignore[arg-type]
    original, said = backlogs.advance, list[str]()

    def advance(*arguments: Any) -> None:
        if arguments[1][0].touched is not None and not said:
            said.append(send(alice, room_id, "in between"))
            workers.order(room_id)
            for record in workers.messages():
                workers.handle(record)
        original(*arguments)

    monkeypatch.setattr(backlogs, "advance", advance)
    workers.tick()
    assert said
    assert peer.bodies == ["first", "in between"]
    assert not is_behind(peer)


def _ordinals(room_id: str) -> list[int]:
    return [item["ordinal"] for item in dynamodb.query("room-log", "room_id = :room", {":room": room_id})]
