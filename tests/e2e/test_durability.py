"""Acknowledged events survive crashes of the server, and all of many parallel requests succeed."""

from __future__ import annotations

import http.client
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from local_cloud.testing import LocalCloud, local_cloud
from tests.e2e.conftest import ENVIRONMENT
from tests.e2e.raw import V3, Raw, register, segment
from tests.local_cloud.waiting import PATIENCE_S, until

pytestmark = pytest.mark.long

SENDERS = 16
EACH = 6


@pytest.fixture
def party(shared_cloud: LocalCloud) -> Iterator[tuple[str, list[Raw]]]:
    """Yield a room with sixteen people in it."""
    people = [register(shared_cloud, f"party-{number}") for number in range(SENDERS)]
    room_id = people[0].create_room(preset="public_chat")
    for guest in people[1:]:
        guest.join(room_id)
    yield room_id, people
    for one in people:
        one.close()


def test_sixteen_senders_at_once_all_succeed(party: tuple[str, list[Raw]]) -> None:
    room_id, people = party
    since = people[0].json("GET", f"{V3}/sync")["next_batch"]
    start = threading.Barrier(SENDERS)

    def send(sender: Raw) -> list[str]:
        start.wait()
        return [sender.send(room_id, f"{sender.user_id} {number}") for number in range(EACH)]

    with ThreadPoolExecutor(SENDERS) as pool:
        sent = [event_id for batch in pool.map(send, people) for event_id in batch]
    history = people[0].history(room_id)
    assert sorted(event["event_id"] for event in history) == sorted(sent)
    for sender in people:
        own = [event["content"]["body"] for event in history if event["sender"] == sender.user_id]
        assert own == [f"{sender.user_id} {number}" for number in range(EACH)], "each one's are in order"
    assert told_of(people[0], room_id, since) == [event["event_id"] for event in history]


def told_of(client: Raw, room_id: str, since: str) -> list[str]:
    """Return the event IDs of all messages that come to a client by sync after `since`, gaps filled."""
    found: list[str] = []
    answer = client.json("GET", f"{V3}/sync?since={segment(since)}")
    while "rooms" in answer:
        timeline = answer["rooms"]["join"][room_id]["timeline"]
        gap: list[str] = []
        before = timeline["prev_batch"] if timeline["limited"] else None
        while before is not None:
            span = f"from={segment(before)}&to={segment(since)}"
            page = client.json("GET", f"{V3}/rooms/{segment(room_id)}/messages?dir=b&limit=20&{span}")
            gap[:0] = reversed([event["event_id"] for event in page["chunk"]])
            before = page.get("end") if page["chunk"] else None
        found += gap + [event["event_id"] for event in timeline["events"]]
        since = answer["next_batch"]
        answer = client.json("GET", f"{V3}/sync?since={segment(since)}")
    return found


def test_nothing_acknowledged_is_lost_to_a_power_cut(cloud: LocalCloud) -> None:
    """Senders repeat what was not acknowledged, with the same transaction IDs. Everything is there once."""
    people = [register(cloud, f"sender-{number}") for number in range(4)]
    room_id = people[0].create_room(preset="public_chat")
    for guest in people[1:]:
        guest.join(room_id)
    since = people[0].json("GET", f"{V3}/sync")["next_batch"]
    acknowledged: dict[str, str] = {}
    attempted: dict[str, str] = {}
    stop = threading.Event()

    def send(sender: Raw) -> None:
        for number in range(10_000):
            body = f"{sender.user_id} {number}"
            attempted[body] = sender.token
            if stop.is_set():
                return
            try:
                acknowledged[body] = sender.send(room_id, body, f"n{number}")
            except (OSError, http.client.HTTPException):
                return

    threads = [threading.Thread(target=send, args=(sender,)) for sender in people]
    for thread in threads:
        thread.start()
    until(lambda: len(acknowledged) >= 40)
    cloud.kill9()
    stop.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    cloud.restart()
    again = {sender.user_id: sender.again() for sender in people}
    for body in attempted:
        user_id, _, number = body.partition(" ")
        event_id = again[user_id].send(room_id, body, f"n{number}")
        assert acknowledged.setdefault(body, event_id) == event_id
    reader = again[people[0].user_id]
    history = reader.history(room_id)
    assert {event["content"]["body"]: event["event_id"] for event in history} == acknowledged
    assert len(history) == len(acknowledged)
    assert told_of(reader, room_id, since) == [event["event_id"] for event in history]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_ends_long_polls_well(cloud: LocalCloud, number: signal.Signals) -> None:
    """The server stops at once, and the last token of each waiting client is valid after the restart."""
    alice, bob = register(cloud, "alice"), register(cloud, "bob")
    room_id = alice.create_room(preset="public_chat")
    bob.join(room_id)
    tokens = {client: [client.json("GET", f"{V3}/sync")["next_batch"]] for client in (alice, bob)}

    def poll(client: Raw) -> None:
        for _ in range(100):
            uri = f"{V3}/sync?since={segment(tokens[client][-1])}&timeout=25000"
            try:
                tokens[client].append(client.json("GET", uri)["next_batch"])
            except (OSError, http.client.HTTPException):
                return

    polls = [threading.Thread(target=poll, args=(client,)) for client in tokens]
    for thread in polls:
        thread.start()
    first = bob.again().send(room_id, "before the end")
    until(lambda: all(len(found) >= 2 for found in tokens.values()))
    assert cloud._end(number, 20) == 0, "it doesn't wait for the polls, which last for 25 s"
    for thread in polls:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    cloud.restart()
    sent = bob.again().send(room_id, "after the restart")
    assert told_of(alice.again(), room_id, tokens[alice][-1]) == [sent]
    assert told_of(alice.again(), room_id, tokens[alice][0]) == [first, sent]


def test_two_servers_side_by_side(shared_cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> None:
    with local_cloud(tmp_path_factory.mktemp("other"), environment=ENVIRONMENT) as other:
        here, there = register(shared_cloud, "twin"), register(other, "twin")
        assert (here.user_id, there.user_id) == (
            f"@twin:{shared_cloud.server_name}",
            f"@twin:{other.server_name}",
        )
        room_id = there.create_room(room_alias_name="twins")
        assert here.json("GET", f"{V3}/joined_rooms") == {"joined_rooms": []}
        assert there.json("GET", f"{V3}/joined_rooms") == {"joined_rooms": [room_id]}
        alias = segment(f"#twins:{shared_cloud.server_name}")
        assert here.request("GET", f"{V3}/directory/room/{alias}").error == (404, "M_NOT_FOUND")
        assert here.request("GET", f"{V3}/account/whoami", token=there.token).error == (
            401,
            "M_UNKNOWN_TOKEN",
        )
