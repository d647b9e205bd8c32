"""Scrolling back: other servers are asked for missing events, rarely and for a short time."""

from __future__ import annotations

from typing import Any

import pytest

from murmuration import clock as clock_module
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.storage.servers import unobtainable
from tests.federation.inbound.test_transactions import said
from tests.federation.network import Reply
from tests.federation.peers import Peer, Worker, share_room
from tests.in_process import Client, segment
from tests.rooms.other_servers import Mirror, log_ids
from tests.rooms.people import bodies, messages, ok, send


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead_ms = 0
        real = clock_module.now_ms
        monkeypatch.setattr(unobtainable, "now_ms", lambda: real() + self.ahead_ms)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_gap_is_filled_when_somebody_scrolls_there(alice: Client, peer: Peer, worker: Worker) -> None:
    mirror = share_room(alice, peer)
    bob = UserId(f"@bob:{peer.name}")
    sent = [mirror.message(bob, f"m{number}") for number in range(40)]
    peer.send(sent[0])
    worker.run()
    peer.lies["get_missing_events"] = {"events": []}
    peer.send(sent[-1])
    worker.run()
    asked = list(peer.asked)
    assert bodies(messages(alice, mirror.room_id, limit=1)["chunk"]) == ["m39"]
    assert peer.asked == [*asked, "backfill"], "it is at the gap"
    assert said(alice, mirror) == [f"m{number}" for number in range(40)]
    assert peer.asked.count("backfill") == 1
    fresh = messages(alice, mirror.room_id, direction="f", limit=100)["chunk"]
    assert bodies(fresh) == [f"m{number}" for number in range(40)]


def test_what_nobody_has_is_asked_for_seldom(alice: Client, peer: Peer, worker: Worker, clock: Clock) -> None:
    mirror = share_room(alice, peer)
    bob = UserId(f"@bob:{peer.name}")
    lost, other = mirror.message(bob, "lost"), mirror.message(bob, "lost too", after=mirror.newest())
    mirror.secret |= {lost.event_id, other.event_id}
    peer.send(mirror.message(bob, "after"))
    worker.run()
    peer.lies["backfill"] = Reply({"errcode": "M_NOT_FOUND", "error": "?"}, 404)
    clock.ahead_ms = 2 * 3_600_000
    peer.asked.clear()
    for _ in range(3):
        assert said(alice, mirror) == ["after"]
    assert peer.asked == ["backfill"]
    clock.ahead_ms += 2 * 60_000
    assert said(alice, mirror) == ["after"]
    assert peer.asked == ["backfill"], "not for hours"
    clock.ahead_ms += 5 * 3_600_000
    del peer.lies["backfill"]
    mirror.secret.clear()
    assert said(alice, mirror) == ["lost", "lost too", "after"]


def test_nobody_is_asked_for_a_room_that_is_whole(alice: Client, peer: Peer) -> None:
    mirror = share_room(alice, peer)
    send(alice, mirror.room_id, "hello")
    assert said(alice, mirror) == ["hello"]
    assert peer.asked == []


def test_what_is_no_part_of_the_past_is_not_taken(alice: Client, peer: Peer, worker: Worker) -> None:
    """A server that answers with other events can't insert them."""
    mirror = share_room(alice, peer)
    bob = UserId(f"@bob:{peer.name}")
    mirror.secret.add(mirror.message(bob, "lost").event_id)
    after = mirror.message(bob, "after")
    peer.send(after)
    worker.run()
    foreign = mirror.message(bob, "of today", after=after, learn=False)
    peer.lies["backfill"] = {"pdus": [foreign.pdu, {"x": 1}, None]}
    before = log_ids(mirror.room_id)
    said(alice, mirror)
    assert log_ids(mirror.room_id) == before


def test_a_long_past_comes_page_by_page(alice: Client, peer: Peer, worker: Worker) -> None:
    """Each page may ask another server. There is no pause between pages."""
    mirror = share_room(alice, peer)
    bob = UserId(f"@bob:{peer.name}")
    sent = [mirror.message(bob, f"m{number}") for number in range(130)]
    peer.lies["get_missing_events"] = {"events": []}
    peer.send(sent[-1])
    worker.run()
    found: list[str] = []
    start: dict[str, str] = {}
    for _ in range(10):
        page = messages(alice, mirror.room_id, limit=60, **start)
        found += bodies(page["chunk"])
        if "end" not in page:
            break
        start = {"from": page["end"]}
    assert found[::-1] == [f"m{number}" for number in range(130)]
    assert peer.asked.count("backfill") == 2


def test_who_comes_while_another_asks_comes_again(alice: Client, peer: Peer, worker: Worker) -> None:
    mirror = share_room(alice, peer)
    bob = UserId(f"@bob:{peer.name}")
    mirror.message(bob, "missed")
    peer.lies["get_missing_events"] = {"events": []}
    peer.send(mirror.message(bob, "new"))
    worker.run()
    newest = messages(alice, mirror.room_id, limit=1)
    assert bodies(newest["chunk"]) == ["new"]
    assert unobtainable.claim_backfill(RoomId(mirror.room_id), 60_000)
    peer.lies["backfill"] = {"pdus": []}
    asked = peer.asked.count("backfill")
    page = messages(alice, mirror.room_id, limit=1, **{"from": newest["end"]})
    assert "end" in page
    assert peer.asked.count("backfill") == asked


@pytest.mark.parametrize("direction", ["f", "b"])
def test_the_event_of_a_time_in_a_gap(alice: Client, peer: Peer, worker: Worker, direction: str) -> None:
    """The events around that time are fetched first."""
    mirror = share_room(alice, peer)
    bob = UserId(f"@bob:{peer.name}")
    sent = [mirror.message(bob, f"m{number}") for number in range(20)]
    peer.lies["get_missing_events"] = {"events": []}
    peer.send(sent[-1])
    worker.run()
    wanted = sent[10]
    where = f"/_matrix/client/v1/rooms/{segment(mirror.room_id)}/timestamp_to_event"
    found = ok(alice.get(where, ts=str(wanted.origin_server_ts), dir=direction))
    assert found == {"event_id": wanted.event_id, "origin_server_ts": wanted.origin_server_ts}
    assert peer.asked.count("backfill") == 1
    told = peer.get("timestamp_to_event", mirror.room_id, ts=str(wanted.origin_server_ts), dir=direction)
    assert ok(told)["event_id"] == wanted.event_id, "another server is told the same"


def at_time(alice: Client, mirror: Mirror, ts: int, direction: str) -> str:
    where = f"/_matrix/client/v1/rooms/{segment(mirror.room_id)}/timestamp_to_event"
    found: str = ok(alice.get(where, ts=str(ts), dir=direction))["event_id"]
    return found


@pytest.mark.parametrize("direction", ["f", "b"])
def test_the_past_is_fetched_until_the_event_of_a_time_is_there(
    alice: Client, peer: Peer, worker: Worker, direction: str
) -> None:
    """Another server names the event. Only the events up to it are fetched."""
    mirror = share_room(alice, peer)
    sent = [mirror.message(UserId(f"@bob:{peer.name}"), f"m{number}") for number in range(700)]
    peer.lies["get_missing_events"] = {"events": []}
    peer.send(sent[-1])
    worker.run()
    wanted = sent[150]
    found = {"event_id": wanted.event_id, "origin_server_ts": wanted.origin_server_ts}
    peer.lies["timestamp_to_event"] = found
    assert at_time(alice, mirror, wanted.origin_server_ts, direction) == wanted.event_id
    assert peer.asked.count("timestamp_to_event") == 1
    assert peer.asked.count("backfill") == 6
    assert at_time(alice, mirror, wanted.origin_server_ts, direction) == wanted.event_id
    assert peer.asked.count("backfill") == 6


@pytest.mark.parametrize(
    "lie",
    [
        {},
        {"event_id": 7, "origin_server_ts": 1},
        {"event_id": "$" + "x" * 300, "origin_server_ts": 2**50},
        {"event_id": "$nowhere", "origin_server_ts": 2**50},
        {"event_id": "$nowhere", "origin_server_ts": 1},
        {"event_id": "$nowhere", "origin_server_ts": True},
    ],
)
def test_lies_about_the_event_of_a_time(alice: Client, peer: Peer, worker: Worker, lie: Any) -> None:
    """An ID of no event of the room, or of one on the wrong side, changes nothing, and the search ends."""
    mirror = share_room(alice, peer)
    sent = [mirror.message(UserId(f"@bob:{peer.name}"), f"m{number}") for number in range(20)]
    peer.lies |= {"get_missing_events": {"events": []}, "timestamp_to_event": lie}
    peer.send(sent[-1])
    worker.run()
    assert at_time(alice, mirror, sent[10].origin_server_ts, "f") == sent[10].event_id
    assert peer.asked.count("backfill") <= 3
