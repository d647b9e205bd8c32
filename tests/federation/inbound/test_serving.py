"""Which data of rooms other servers can query, and which they cannot."""

from __future__ import annotations

import gzip
import json
import string
from collections.abc import Callable
from typing import Any

import pytest

from murmuration.aws import dynamodb
from murmuration.federation.outbound import room_logs
from murmuration.federation.serving import answers, states
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import EventId, RoomId, ServerName, UserId
from murmuration.protocol.pdus.hashing import event_id_for
from murmuration.rooms.room import Room
from murmuration.storage import retention
from murmuration.storage.rooms import room_items
from tests.federation.peers import SECRET, Peer, Worker, share_room
from tests.in_process import Answer, Client, segment
from tests.rooms.large_rooms import fill
from tests.rooms.other_servers import Mirror, log_ids
from tests.rooms.people import create_room, join, leave, ok, refused, send, set_state


def ids_of(mirror: Mirror, pdus: list[dict[str, Any]]) -> list[str]:
    return [event_id_for(pdu, mirror.version) for pdu in pdus]


def entries(mirror: Mirror) -> list[room_items.LogEntry]:
    return room_items.read_log(RoomId(mirror.room_id), mirror.version)


def history(peer: Peer, mirror: Mirror, *event_ids: str, limit: int = 100) -> list[dict[str, Any]]:
    answer = ok(peer.get("backfill", mirror.room_id, v=list(event_ids), limit=limit))
    assert answer["origin"] == "example.org"
    return list(answer["pdus"])


@pytest.mark.parametrize("version", ["1", "12"])
def test_one_event(alice: Client, peer: Peer, version: str) -> None:
    mirror = share_room(alice, peer, version=version)
    event_id = send(alice, mirror.room_id, "hello")
    (pdu,) = ok(peer.get("event", event_id))["pdus"]
    assert event_id_for(pdu, mirror.version) == event_id
    assert pdu["content"]["body"] == "hello"
    assert pdu["signatures"]["example.org"]
    refused(peer.get("event", "$" + "x" * 43), 404, "M_NOT_FOUND")
    refused(peer.get("event", "$" + "x" * 400), 404, "M_NOT_FOUND")


QUESTIONS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "event": ("event", ("{event}",), ""),
    "state": ("state", ("{room}",), "event_id"),
    "state_ids": ("state_ids", ("{room}",), "event_id"),
    "event_auth": ("event_auth", ("{room}", "{event}"), ""),
    "backfill": ("backfill", ("{room}",), "v"),
    "timestamp_to_event": ("timestamp_to_event", ("{room}",), "ts"),
}


def ask(peer: Peer, question: str, room_id: str, event_id: str) -> Answer:
    if question == "get_missing_events":
        body = {"earliest_events": [], "latest_events": [event_id]}
        return peer.call("POST", f"/_matrix/federation/v1/get_missing_events/{segment(room_id)}", body)
    what, parts, name = QUESTIONS[question]
    filled = [part.format(room=room_id, event=event_id) for part in parts]
    query = {} if not name else {name: "0", "dir": "f"} if name == "ts" else {name: event_id}
    return peer.get(what, *filled, **query)


@pytest.mark.parametrize("question", [*QUESTIONS, "get_missing_events"])
def test_who_may_ask(alice: Client, peer: Peer, third: Peer, question: str) -> None:
    mirror = share_room(alice, peer)
    event_id = send(alice, mirror.room_id, "hello")
    assert ask(peer, question, mirror.room_id, event_id).status == 200
    refused(ask(third, question, mirror.room_id, event_id), 403, "M_FORBIDDEN")
    if question != "event":
        refused(ask(peer, question, "!unknown:example.org", event_id), 404, "M_NOT_FOUND")
    set_state(alice, mirror.room_id, "m.room.server_acl", {"allow": ["*"], "deny": [peer.name]})
    refused(ask(peer, question, mirror.room_id, event_id), 403, "M_FORBIDDEN")
    leave(alice, mirror.room_id)
    assert ask(peer, question, mirror.room_id, event_id).status == 404


@pytest.mark.parametrize("question", ["state", "state_ids", "event_auth", "backfill", "get_missing_events"])
def test_events_of_another_room(alice: Client, peer: Peer, question: str) -> None:
    mirror = share_room(alice, peer)
    other = send(alice, create_room(alice), "secret")
    answer = ask(peer, question, mirror.room_id, other)
    if question in ("backfill", "get_missing_events"):
        assert answer.json.get("pdus", answer.json.get("events")) == []
    else:
        refused(answer, 404, "M_NOT_FOUND")
    refused(peer.get("event", other), 403, "M_FORBIDDEN")


@pytest.mark.parametrize("path", ["state", "state_ids", "backfill", "timestamp_to_event"])
def test_what_must_be_said(alice: Client, peer: Peer, path: str) -> None:
    mirror = share_room(alice, peer)
    refused(peer.get(path, mirror.room_id), 400, "M_MISSING_PARAM")


def test_state_before_an_event(alice: Client, peer: Peer) -> None:
    mirror = share_room(alice, peer)
    set_state(alice, mirror.room_id, "m.room.topic", {"topic": "old"})
    event_id = send(alice, mirror.room_id, "hello")
    set_state(alice, mirror.room_id, "m.room.topic", {"topic": "new"})
    mirror.catch_up()
    told = ok(peer.get("state_ids", mirror.room_id, event_id=event_id))
    assert set(told["pdu_ids"]) == set(mirror.state_at[event_id].values())
    assert set(told["auth_chain_ids"]) == set(
        mirror.chain_of(it for event in told["pdu_ids"] for it in auth(mirror, event))
    )
    whole = ok(peer.get("state", mirror.room_id, event_id=event_id))
    assert ids_of(mirror, whole["pdus"]) == told["pdu_ids"]
    assert ids_of(mirror, whole["auth_chain"]) == told["auth_chain_ids"]
    topics = [pdu["content"]["topic"] for pdu in whole["pdus"] if pdu["type"] == "m.room.topic"]
    assert topics == ["old"]
    chain = ok(peer.get("event_auth", mirror.room_id, event_id))["auth_chain"]
    assert set(ids_of(mirror, chain)) == set(mirror.chain_of(auth(mirror, EventId(event_id))))


def auth(mirror: Mirror, event_id: EventId) -> list[str]:
    """Return the auth events of an event. From version 12 on they don't include the create event, but it
    counts.
    """
    event = mirror.events[event_id]
    create = [mirror.room_id.replace("!", "$")] if not event.is_create else []
    return [*event.auth_events, *create]


def test_backfill_goes_by_the_graph(alice: Client, peer: Peer, worker: Worker) -> None:
    mirror = share_room(alice, peer)
    bob = UserId(f"@bob:{peer.name}")
    base = send(alice, mirror.room_id, "base")
    mirror.catch_up()
    left = mirror.message(bob, "left", after=base)
    right = mirror.message(bob, "right", after=base)
    tip = mirror.message(bob, "tip", after=left)
    peer.send(left, right, tip)
    worker.run()
    found = history(peer, mirror, tip.event_id)
    assert [pdu["content"].get("body") for pdu in found[:3]] == ["tip", "left", "base"]
    assert right.event_id not in ids_of(mirror, found)
    assert found[-1]["type"] == "m.room.create"
    assert ids_of(mirror, history(peer, mirror, tip.event_id, limit=2)) == [tip.event_id, left.event_id]
    both = history(peer, mirror, tip.event_id, right.event_id)
    assert right.event_id in ids_of(mirror, both)


def test_missing_events(alice: Client, peer: Peer) -> None:
    mirror = share_room(alice, peer)
    sent = [send(alice, mirror.room_id, f"m{number}") for number in range(30)]
    path = f"/_matrix/federation/v1/get_missing_events/{mirror.room_id.replace('!', '%21')}"

    def missing(**body: Any) -> list[str]:
        return ids_of(mirror, ok(peer.call("POST", path, body))["events"])

    assert missing(earliest_events=[sent[2]], latest_events=[sent[6]]) == sent[3:6]
    assert missing(earliest_events=[], latest_events=[sent[25]], limit=1000) == sent[5:25]
    assert missing(earliest_events=[], latest_events=[sent[25]]) == sent[15:25]
    depth = entries(mirror)[-3].event.depth
    assert missing(earliest_events=[], latest_events=[sent[29]], min_depth=depth) == sent[27:29]
    assert missing(earliest_events=[], latest_events=["$" + "x" * 43]) == []
    wrong: list[Any] = [{"earliest_events": "x"}, {"latest_events": [1]}, {"limit": "x"}, {"limit": -1}]
    for body in wrong:
        refused(peer.call("POST", path, body), 400, "M_BAD_JSON")


def test_history_before_the_servers_users_joined_is_redacted(alice: Client, peer: Peer, third: Peer) -> None:
    """History visibility is `joined`: another server gets earlier events without their content."""
    initial = [
        {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "joined"}}
    ]
    room_id = RoomId(create_room(alice, preset="public_chat", room_version="12", initial_state=initial))
    before = send(alice, room_id, "before")
    set_state(alice, room_id, "m.room.topic", {"topic": "still current"})
    mirror = Mirror(room_id)
    for each in (peer, third):
        each.mirror = mirror
        bob = UserId(f"@bob:{each.name}")
        mirror.send(mirror.member(bob, bob, "join"))
    during = send(alice, room_id, "during")
    mirror.catch_up()
    bob, carol = UserId(f"@bob:{peer.name}"), UserId(f"@carol:{peer.name}")
    mirror.send(mirror.member(bob, bob, "leave"))
    gone = send(alice, room_id, "gone")
    mirror.catch_up()
    mirror.send(mirror.member(carol, carol, "join"))
    again = send(alice, room_id, "again")
    found = {event_id_for(pdu, mirror.version): pdu for pdu in history(peer, mirror, again)}
    said = {
        event_id: found[event_id]["content"].get("body")
        for event_id in map(EventId, (before, during, gone, again))
    }
    assert said == {before: None, during: "during", gone: None, again: "again"}
    topics = [pdu["content"].get("topic") for pdu in found.values() if pdu["type"] == "m.room.topic"]
    assert topics == ["still current"]
    assert {event_id: body_of(peer, event_id) for event_id in said} == said
    assert [body_of(third, event_id) for event_id in said] == [None, "during", "gone", "again"]
    set_state(alice, room_id, "m.room.history_visibility", {"history_visibility": "shared"})
    assert body_of(peer, before) is None, "what was said before stays as it was said"
    assert body_of(peer, send(alice, room_id, "open")) == "open"


def test_what_an_erased_user_sent(
    alice: Client, peer: Peer, third: Peer, make_client: Callable[..., Client]
) -> None:
    """Servers that were in the room get the whole event, a server that joined later gets it redacted."""
    from murmuration.rooms.reading.erasures import erase_in_rooms

    mirror = share_room(alice, peer)
    gone = make_client("gone")
    join(gone, mirror.room_id)
    event_id = send(gone, mirror.room_id, "forget me")
    erase_in_rooms(UserId(gone.user_id))
    mirror.catch_up()
    mirror.send(mirror.member(UserId(f"@bob:{third.name}"), f"@bob:{third.name}", "join"))
    assert (body_of(peer, event_id), body_of(third, event_id)) == ("forget me", None)
    later = send(alice, mirror.room_id, "of others")
    assert body_of(third, later) == "of others"
    assert body_of(third, send(alice, mirror.room_id, "after")) == "after"


def body_of(peer: Peer, event_id: str) -> str | None:
    (pdu,) = ok(peer.get("event", event_id))["pdus"]
    body: str | None = pdu["content"].get("body")
    return body


def test_soft_failed_and_rejected_events(alice: Client, peer: Peer, worker: Worker) -> None:
    """A soft-failed event is returned by its ID and to servers with events that follow it, a rejected one
    never.
    """
    mirror = share_room(alice, peer)
    bob = UserId(f"@bob:{peer.name}")
    before = mirror.newest()
    from tests.rooms.people import path

    ok(alice.post(path(mirror.room_id, "ban"), {"user_id": bob}))
    mirror.catch_up()
    soft = mirror.message(bob, "sent before I knew", after=before)
    wrong = mirror.message(UserId(f"@mallory:{peer.name}"), "never here", learn=False)
    carol = UserId(f"@carol:{peer.name}")
    joined = mirror.member(carol, carol, "join", after=mirror.newest()[:1])
    peer.send(joined)
    worker.run()
    peer.send(soft, wrong)
    worker.run()
    assert soft.event_id not in log_ids(mirror.room_id)
    assert body_of(peer, soft.event_id) == "sent before I knew"
    refused(peer.get("event", wrong.event_id), 404, "M_NOT_FOUND")
    assert soft.event_id not in ids_of(mirror, history(peer, mirror, joined.event_id))


def test_closest_event(alice: Client, peer: Peer) -> None:
    mirror = share_room(alice, peer)
    sent = [EventId(send(alice, mirror.room_id, f"m{number}")) for number in range(40)]
    times = {it.event.event_id: it.event.origin_server_ts for it in entries(mirror)}
    at = times[sent[20]]
    found = ok(peer.get("timestamp_to_event", mirror.room_id, ts=at, dir="f"))
    assert found["origin_server_ts"] == at
    found = ok(peer.get("timestamp_to_event", mirror.room_id, ts=at - 1, dir="b"))
    assert found["origin_server_ts"] < at
    refused(peer.get("timestamp_to_event", mirror.room_id, ts=10**15, dir="f"), 404, "M_NOT_FOUND")
    refused(peer.get("timestamp_to_event", mirror.room_id, ts=0, dir="b"), 404, "M_NOT_FOUND")
    refused(peer.get("timestamp_to_event", mirror.room_id, ts="x", dir="b"), 400, "M_INVALID_PARAM")
    refused(peer.get("timestamp_to_event", mirror.room_id, ts=1, dir="x"), 400, "M_INVALID_PARAM")


def large_state(members: int) -> list[Event]:
    """Write member events with incompressible content: signatures and hashes can't be compressed."""
    import random

    from murmuration.protocol.identifiers import RoomId, UserId
    from murmuration.protocol.room_versions import get_room_version

    draw = random.Random(1)

    def noise(length: int) -> str:
        return "".join(draw.choices(string.ascii_letters + string.digits + "-_", k=length))

    version = get_room_version("10")
    shared = ["$" + noise(43) for _ in range(3)]
    return [
        Event(
            {
                "type": "m.room.member",
                "room_id": RoomId("!room:example.org"),
                "sender": UserId(f"@user{number}:s{number % 800}.example"),
                "state_key": f"@user{number}:s{number % 800}.example",
                "content": {"membership": "join", "displayname": f"User {number}", "avatar_url": noise(40)},
                "origin_server_ts": 1_700_000_000_000 + number,
                "depth": number,
                "prev_events": ["$" + noise(43)],
                "auth_events": [*shared, "$" + noise(43)],
                "hashes": {"sha256": noise(43)},
                "signatures": {f"s{number % 800}.example": {"ed25519:a_abcd": noise(86)}},
            },
            version,
        )
        for number in range(members)
    ]


def test_a_state_of_ten_thousand_members_goes_out_compressed(
    alice: Client, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = share_room(alice, peer)
    event_id = send(alice, mirror.room_id, "hello")
    state = large_state(10_000)
    monkeypatch.setattr(states, "state_events", lambda *_: state)
    monkeypatch.setattr(states, "auth_chain", lambda *_, **__: [])
    refused(peer.get("state", mirror.room_id, event_id=event_id), 503, "M_UNKNOWN")
    answer = answers.packed({"pdus": [it.pdu for it in state], "auth_chain": []}, gzip=True)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(answer.body) * 4 // 3 < 6_000_000
    assert len(json.loads(gzip.decompress(answer.body))["pdus"]) == 10_000


def test_an_endpoint_compresses_what_is_large(
    alice: Client, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """API Gateway gets it in Base64, with the headers of the encoding."""
    import base64

    from murmuration.endpoint import discover

    mirror = share_room(alice, peer)
    event_id = send(alice, mirror.room_id, "hello")
    state = large_state(3_000)
    monkeypatch.setattr(states, "state_events", lambda *_: state)
    monkeypatch.setattr(states, "auth_chain", lambda *_, **__: [])
    uri = f"/_matrix/federation/v1/state/{segment(mirror.room_id)}?event_id={segment(event_id)}"
    handler: Any = {it.name: it for it in discover()}["server_server-get_room_state"].handler
    answer = handler(
        {
            "httpMethod": "GET",
            "path": uri.partition("?")[0],
            "resource": "/_matrix/federation/v1/state/{roomId}",
            "headers": {
                "authorization": peer.authorization("GET", uri),
                "accept-encoding": "gzip",
                "x-murmuration-uri": uri,
                "x-murmuration-viewer-secret": SECRET,
            },
            "queryStringParameters": {"event_id": event_id},
            "pathParameters": {"roomId": segment(mirror.room_id)},
            "requestContext": {"identity": {"sourceIp": "198.51.100.1"}},
        },
        None,
    )
    assert (answer["statusCode"], answer["headers"]["Content-Encoding"]) == (200, "gzip")
    body = json.loads(gzip.decompress(base64.b64decode(answer["body"])))
    assert len(body["pdus"]) == 3_000


def test_the_state_of_a_large_room_is_read_by_queries(alice: Client, peer: Peer) -> None:
    mirror = share_room(alice, peer)
    fill(mirror.room_id, 1_500)
    event_id = send(alice, mirror.room_id, "hello")
    told = ok(peer.get("state_ids", mirror.room_id, event_id=event_id))
    assert len(told["pdu_ids"]) >= 1_500
    assert Room.load(RoomId(mirror.room_id)).head.joined >= 1_500


def test_what_was_purged_is_not_served(alice: Client, peer: Peer) -> None:
    mirror = share_room(alice, peer)
    first, gone, newest = (send(alice, mirror.room_id, text) for text in ("one", "secret", "three"))
    room = Room.load(RoomId(mirror.room_id))
    (entry,) = (it for it in room_items.read_log(room.room_id, room.version) if it.event.event_id == gone)
    dynamodb.execute(retention.purge_write(entry))
    for question in ("event", "event_auth"):
        refused(ask(peer, question, mirror.room_id, gone), 404, "M_NOT_FOUND")
    for question in ("backfill", "get_missing_events"):
        answer = ok(ask(peer, question, mirror.room_id, newest))
        told = ids_of(mirror, answer.get("pdus", answer.get("events")))
        assert first in told
        assert gone not in told
    assert ok(ask(peer, "state_ids", mirror.room_id, gone))["pdu_ids"]
    owed = room_logs.read_owed(
        ServerName(peer.name), RoomId(mirror.room_id), entry.ordinal, only_newest=False
    )
    assert [it.event.event_id for it in owed.entries] == [newest]
