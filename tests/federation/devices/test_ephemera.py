"""Typing notifications and receipts across servers. Large rooms get fewer of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from functions.workers.sending import retry_destinations
from local_cloud.permissions import acting_for, module_of
from murmuration import clock
from murmuration.federation.ephemera import sending, taking
from murmuration.federation.outbound import fan_out
from murmuration.protocol.identifiers import DeviceId, RoomId, ServerName, UserId
from murmuration.storage import parked
from murmuration.storage.live import listeners
from murmuration.storage.live.compact import attention
from murmuration.storage.live.listeners import Socket, Wait
from murmuration.storage.live.streams import room_stream
from murmuration.storage.servers import parked_receipts
from murmuration.storage.servers.parked_receipts import ParkedReceipt
from tests.federation.devices.conftest import encrypted_room
from tests.federation.devices.elsewhere import Elsewhere, Streams
from tests.federation.outbound import Workers
from tests.federation.peers import Worker
from tests.in_process import Client, segment
from tests.logged_in import log_in
from tests.rooms.other_servers import Mirror
from tests.rooms.people import join, relate, send, set_state

SYNC = "/_matrix/client/v3/sync"


def ephemeral(client: Client, room_id: str, kind: str) -> Any:
    """Return the content of an ephemeral event of a room in a first sync; empty without one."""
    room = client.get(SYNC).json["rooms"]["join"][room_id]
    found = [event["content"] for event in room["ephemeral"]["events"] if event["type"] == kind]
    return found[0] if found else {}


def typing(client: Client, room_id: str) -> list[str]:
    users: list[str] = ephemeral(client, room_id, "m.typing").get("user_ids", [])
    return users


def set_typing(client: Client, room_id: str, *, is_typing: bool) -> None:
    path = f"/_matrix/client/v3/rooms/{segment(room_id)}/typing/{segment(client.user_id)}"
    body = {"typing": is_typing, "timeout": 30_000}
    assert client.put(path, body).status == 200


def read_up_to(client: Client, room_id: str, event_id: str, **body: Any) -> None:
    path = f"/_matrix/client/v3/rooms/{segment(room_id)}/receipt/m.read/{segment(event_id)}"
    assert client.post(path, body).status == 200


def type_edu(room: Mirror, user_id: str, *, is_typing: bool = True) -> dict[str, Any]:
    return {"room_id": room.room_id, "user_id": user_id, "typing": is_typing}


def receipt_edu(room: Mirror, user_id: str, event_id: str, **data: Any) -> dict[str, Any]:
    of_user = {"event_ids": [event_id], "data": {"ts": 1_000, **data}}
    return {room.room_id: {"m.read": {user_id: of_user}}}


@pytest.fixture
def waiting(alice: Client) -> None:
    """Let Alice wait for news, by a WebSocket."""
    assert alice.user_id is not None
    assert alice.device_id is not None
    listeners.add_socket(
        Socket(UserId(alice.user_id), DeviceId(alice.device_id), f"c-{alice.user_id}"), 2**33
    )


# -- Typing in -------------------------------------------------------------------------------------------


def test_somebody_elsewhere_types(alice: Client, elsewhere: Elsewhere, room: Mirror, waiting: None) -> None:
    elsewhere.tell(type_edu(room, elsewhere.bob), kind="m.typing")
    assert typing(alice, room.room_id) == [elsewhere.bob]
    elsewhere.tell(
        type_edu(room, elsewhere.bob), type_edu(room, elsewhere.bob, is_typing=False), kind="m.typing"
    )
    assert typing(alice, room.room_id) == []


def test_where_nobody_waits_typing_isnt_kept(alice: Client, elsewhere: Elsewhere, room: Mirror) -> None:
    elsewhere.tell(type_edu(room, elsewhere.bob), kind="m.typing")
    assert typing(alice, room.room_id) == []


def test_who_was_answered_a_moment_ago_still_listens(
    alice: Client, elsewhere: Elsewhere, room: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two requests a client doesn't wait. Its next request would not find what came in this
    moment.
    """
    assert alice.user_id is not None
    wait = Wait(UserId(alice.user_id), DeviceId("ALICE"), "1", "", "n", clock.now_ms() // 1000 + 5)
    assert listeners.register_unseen(wait)[0]
    listeners.release(wait)
    elsewhere.tell(type_edu(room, elsewhere.bob), kind="m.typing")
    assert typing(alice, room.room_id) == [elsewhere.bob]
    elsewhere.tell(type_edu(room, elsewhere.bob, is_typing=False), kind="m.typing")
    monkeypatch.setattr(attention, "now_ms", lambda: clock.now_ms() + 300_000)
    elsewhere.tell(type_edu(room, elsewhere.bob), kind="m.typing")
    assert typing(alice, room.room_id) == []


def test_who_may_not_type(
    alice: Client,
    elsewhere: Elsewhere,
    room: Mirror,
    waiting: None,
    make_elsewhere: Callable[[], Elsewhere],
) -> None:
    stranger = make_elsewhere()
    for server, user_id in (
        (stranger, elsewhere.bob),  # another server's user
        (stranger, stranger.bob),  # not in the room
        (elsewhere, f"@nobody:{elsewhere.name}"),
        (elsewhere, alice.user_id),
    ):
        assert server.tell(type_edu(room, str(user_id)), kind="m.typing").status == 200
    elsewhere.tell({}, {"room_id": 5}, {**type_edu(room, elsewhere.bob), "typing": "yes"}, kind="m.typing")
    assert typing(alice, room.room_id) == []
    set_state(alice, room.room_id, "m.room.server_acl", {"allow": ["*"], "deny": [elsewhere.name]})
    elsewhere.tell(type_edu(room, elsewhere.bob), kind="m.typing")
    assert typing(alice, room.room_id) == []


# -- Receipts in -----------------------------------------------------------------------------------------


def test_receipts_come_with_their_threads(alice: Client, elsewhere: Elsewhere, room: Mirror) -> None:
    root = send(alice, room.room_id, "root")
    reply = relate(alice, room.room_id, root, "m.thread")
    elsewhere.tell(receipt_edu(room, elsewhere.bob, root), kind="m.receipt")
    elsewhere.tell(receipt_edu(room, elsewhere.bob, reply, thread_id=root), kind="m.receipt")
    assert ephemeral(alice, room.room_id, "m.receipt") == {
        root: {"m.read": {elsewhere.bob: {"ts": 1_000}}},
        reply: {"m.read": {elsewhere.bob: {"ts": 1_000, "thread_id": root}}},
    }
    elsewhere.tell(receipt_edu(room, elsewhere.bob, reply), kind="m.receipt")
    elsewhere.tell(receipt_edu(room, elsewhere.bob, root), kind="m.receipt")
    found = ephemeral(alice, room.room_id, "m.receipt")
    assert root not in found, "receipts only move forward"


def test_what_is_no_receipt_is_ignored(
    alice: Client, elsewhere: Elsewhere, room: Mirror, make_elsewhere: Callable[[], Elsewhere]
) -> None:
    event_id = send(alice, room.room_id, "read me")
    stranger = make_elsewhere()
    stranger.tell(
        receipt_edu(room, elsewhere.bob, event_id),
        receipt_edu(room, stranger.bob, event_id),
        kind="m.receipt",
    )
    elsewhere.tell(
        receipt_edu(room, elsewhere.bob, "$unknown"),
        receipt_edu(room, f"@nobody:{elsewhere.name}", event_id),
        receipt_edu(room, elsewhere.bob, event_id, thread_id=5),
        {room.room_id: {"m.read": {elsewhere.bob: {"event_ids": []}}}},
        {room.room_id: {"m.read": {elsewhere.bob: 5}}},
        {room.room_id: {"m.read.private": {elsewhere.bob: {"event_ids": [event_id], "data": {"ts": 1}}}}},
        {room.room_id: 5, "!unknown": {"m.read": {}}},
        kind="m.receipt",
    )
    assert ephemeral(alice, room.room_id, "m.receipt") == {}


def test_ids_that_clients_may_not_be_shown_are_ignored(
    alice: Client, elsewhere: Elsewhere, room: Mirror, waiting: None
) -> None:
    """Historical user IDs may be in events, but clients aren't shown them anywhere else."""
    event_id = send(alice, room.room_id, "read me")
    room.catch_up()
    historical, today = (UserId(f"@{name}:{elsewhere.name}") for name in ("b b", "b!b"))
    assert room.kinds(*(room.member(user_id, user_id, "join") for user_id in (historical, today))) == [
        "accepted",
        "accepted",
    ]
    users = (elsewhere.bob, historical, today)
    elsewhere.tell(*(type_edu(room, user_id) for user_id in users), kind="m.typing")
    elsewhere.tell(*(receipt_edu(room, user_id, event_id) for user_id in users), kind="m.receipt")
    assert sorted(typing(alice, room.room_id)) == sorted([elsewhere.bob, today])
    assert ephemeral(alice, room.room_id, "m.receipt")[event_id]["m.read"].keys() == {elsewhere.bob, today}


def test_a_receipt_may_name_several_events(alice: Client, elsewhere: Elsewhere, room: Mirror) -> None:
    """The newest of those events that this server has counts."""
    first, second = send(alice, room.room_id, "first"), send(alice, room.room_id, "second")
    edu = receipt_edu(room, elsewhere.bob, first)
    edu[room.room_id]["m.read"][elsewhere.bob]["event_ids"] = ["$unknown", second, first]
    elsewhere.tell(edu, kind="m.receipt")
    assert ephemeral(alice, room.room_id, "m.receipt") == {second: {"m.read": {elsewhere.bob: {"ts": 1_000}}}}


def test_a_receipt_waits_for_an_event_that_comes_with_it(
    alice: Client, elsewhere: Elsewhere, room: Mirror, worker: Worker
) -> None:
    event = room.message(UserId(elsewhere.bob), "read by its sender")
    late = room.message(UserId(elsewhere.bob), "in a thread")
    edus = [
        {"edu_type": "m.receipt", "content": receipt_edu(room, elsewhere.bob, event.event_id)},
        {
            "edu_type": "m.receipt",
            "content": receipt_edu(room, elsewhere.bob, late.event_id, thread_id="main"),
        },
    ]
    elsewhere.send(event, late, edus=edus)
    assert worker.run() == 2
    assert ephemeral(alice, room.room_id, "m.receipt") == {
        event.event_id: {"m.read": {elsewhere.bob: {"ts": 1_000}}},
        late.event_id: {"m.read": {elsewhere.bob: {"ts": 1_000, "thread_id": "main"}}},
    }


def later(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    """Set the clock of what is parked to `days` from now."""
    monkeypatch.setattr(parked, "now_ms", lambda: clock.now_ms() + int(days * 86_400_000))
    monkeypatch.setattr(taking, "now_ms", lambda: clock.now_ms() + int(days * 86_400_000))


def parked_in(room: Mirror) -> list[ParkedReceipt]:
    """Return the parked receipts of a room that are due."""
    return [each for each in parked_receipts.read_due(1_000) if each.room_id == room.room_id]


def retry_receipts(worker: Worker) -> None:
    taking.retry_parked_receipts()
    while worker.run():
        pass


def test_a_receipt_waits_for_an_event_that_a_third_server_sends_later(
    alice: Client, elsewhere: Elsewhere, room: Mirror, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (room.message(UserId(elsewhere.bob), text) for text in ("first", "second"))
    for event in (first, second, second):
        elsewhere.tell(receipt_edu(room, elsewhere.bob, event.event_id), kind="m.receipt")
        assert worker.run() == 1
    elsewhere.send(first, second)
    assert worker.run() == 1
    retry_receipts(worker)
    assert ephemeral(alice, room.room_id, "m.receipt") == {}, "it is too early"
    later(monkeypatch, 2 / 1_440)
    (parked,) = parked_in(room)
    assert parked.receipt["event_id"] == second.event_id, "of each user the last one"
    retry_receipts(worker)
    assert ephemeral(alice, room.room_id, "m.receipt") == {
        second.event_id: {"m.read": {elsewhere.bob: {"ts": 1_000}}}
    }
    later(monkeypatch, 0.5)
    assert parked_in(room) == []


def test_a_receipt_of_an_event_that_never_comes_is_dropped(
    alice: Client, elsewhere: Elsewhere, room: Mirror, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere.tell(receipt_edu(room, elsewhere.bob, "$never"), kind="m.receipt")
    assert (worker.run(), worker.run()) == (1, 0)
    assert ephemeral(alice, room.room_id, "m.receipt") == {}
    for days, left in ((0.5, 1), (0.9, 1), (1.1, 0)):
        later(monkeypatch, days)
        retry_receipts(worker)
        later(monkeypatch, 2)
        assert len(parked_in(room)) == left, days
    monkeypatch.undo()
    elsewhere.tell(receipt_edu(room, f"@nobody:{elsewhere.name}", "$never"), kind="m.receipt")
    monkeypatch.setattr(taking, "RECEIPTS_ROOM", 1)
    elsewhere.tell(receipt_edu(room, elsewhere.bob, "$never"), kind="m.receipt")
    assert worker.run() == 0, "nothing is queued for strangers, nor in larger rooms"


def test_in_a_larger_room_receipts_of_our_events_are_kept(
    alice: Client, elsewhere: Elsewhere, room: Mirror, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = send(alice, room.room_id, "read me")
    elsewhere.send(theirs := room.message(UserId(elsewhere.bob), "not ours"))
    worker.run()
    monkeypatch.setattr(taking, "RECEIPTS_ROOM", 1)
    elsewhere.tell(receipt_edu(room, elsewhere.bob, ours), kind="m.receipt")
    elsewhere.tell(receipt_edu(room, elsewhere.bob, theirs.event_id), kind="m.receipt")
    assert ephemeral(alice, room.room_id, "m.receipt") == {ours: {"m.read": {elsewhere.bob: {"ts": 1_000}}}}


def test_in_a_large_room_receipts_of_others_are_not_kept(
    alice: Client, elsewhere: Elsewhere, room: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_id = send(alice, room.room_id, "read me")
    monkeypatch.setattr(taking, "RECEIPTS_ROOM", 1)
    monkeypatch.setattr(taking, "LARGE_ROOM", 1)
    elsewhere.tell(receipt_edu(room, elsewhere.bob, event_id), kind="m.receipt")
    assert ephemeral(alice, room.room_id, "m.receipt") == {}


def test_unknown_types_and_nonsense_hold_up_nothing(
    alice: Client, elsewhere: Elsewhere, room: Mirror, worker: Worker
) -> None:
    edus: list[Any] = ["no object", {"edu_type": "m.unknown", "content": {}}, {"edu_type": "m.typing"}, {}]
    event = room.message(UserId(elsewhere.bob), "hello")
    assert elsewhere.send(event, edus=edus).json == {"pdus": {event.event_id: {}}}
    assert worker.run() == 1


# -- Out -------------------------------------------------------------------------------------------------


def test_typing_goes_out(alice: Client, elsewhere: Elsewhere, room: Mirror, streams: Streams) -> None:
    stream = room_stream(RoomId(room.room_id))
    set_typing(alice, room.room_id, is_typing=True)
    streams.run(stream)
    set_typing(alice, room.room_id, is_typing=False)
    streams.run(stream)
    assert elsewhere.contents("m.typing") == [
        type_edu(room, str(alice.user_id)),
        type_edu(room, str(alice.user_id), is_typing=False),
    ]
    assert all(transaction["pdus"] == [] for transaction in elsewhere.transactions)


def test_what_others_type_isnt_sent_on(
    alice: Client, elsewhere: Elsewhere, room: Mirror, streams: Streams, waiting: None
) -> None:
    event_id = send(alice, room.room_id, "read me")
    elsewhere.tell(type_edu(room, elsewhere.bob), kind="m.typing")
    elsewhere.tell(receipt_edu(room, elsewhere.bob, event_id), kind="m.receipt")
    streams.order(room_stream(RoomId(room.room_id)))
    assert streams.workers.messages() == []


def test_typing_stays_here_where_there_are_many_servers(
    alice: Client, elsewhere: Elsewhere, room: Mirror, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "TYPING_SERVERS", 0)
    set_typing(alice, room.room_id, is_typing=True)
    streams.run(room_stream(RoomId(room.room_id)))
    assert elsewhere.transactions == []


def test_receipts_go_out_with_their_threads(
    alice: Client,
    elsewhere: Elsewhere,
    room: Mirror,
    streams: Streams,
    fresh_user_id: Callable[[str], str],
) -> None:
    carol = log_in(UserId(fresh_user_id("carol")), DeviceId("CAROL"))
    join(carol, room.room_id)
    root = send(alice, room.room_id, "root")
    reply = relate(alice, room.room_id, root, "m.thread")
    stream = room_stream(RoomId(room.room_id))
    streams.skip(stream)
    read_up_to(carol, room.room_id, root)
    read_up_to(alice, room.room_id, root)
    read_up_to(carol, room.room_id, reply, thread_id=root)
    streams.run(stream)
    (transaction,) = elsewhere.transactions
    contents = [edu["content"][room.room_id]["m.read"] for edu in transaction["edus"]]
    assert [set(users) for users in contents] == [{carol.user_id, alice.user_id}, {carol.user_id}]
    assert contents[0][carol.user_id]["event_ids"] == [root]
    assert contents[1][carol.user_id]["event_ids"] == [reply]
    assert contents[1][carol.user_id]["data"]["thread_id"] == root


def test_a_receipt_goes_to_a_server_that_has_just_come(
    alice: Client, elsewhere: Elsewhere, streams: Streams, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alice has read her room before Bob joins it."""
    room = encrypted_room(alice)
    assert sending.servers_in(RoomId(room.room_id)) == ()
    elsewhere.mirror = room
    assert room.kinds(room.member(elsewhere.bob, elsewhere.bob, "join")) == ["accepted"]
    streams.workers.skip(room.room_id)
    monkeypatch.setattr(sending, "now_ms", lambda: clock.now_ms() + 4_000)
    read_up_to(alice, room.room_id, send(alice, room.room_id, "welcome"))
    streams.run(room_stream(RoomId(room.room_id)))
    assert len(elsewhere.contents("m.receipt")) == 1


def test_private_receipts_stay_here(
    alice: Client, elsewhere: Elsewhere, room: Mirror, streams: Streams
) -> None:
    event_id = send(alice, room.room_id, "read me")
    path = f"/_matrix/client/v3/rooms/{segment(room.room_id)}/receipt/m.read.private/{segment(event_id)}"
    assert alice.post(path, {}).status == 200
    streams.run(room_stream(RoomId(room.room_id)), f"user:{alice.user_id}")
    assert elsewhere.transactions == []


def test_in_a_room_of_many_servers_receipts_wait_for_each_other(
    alice: Client,
    elsewhere: Elsewhere,
    room: Mirror,
    streams: Streams,
    workers: Workers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sending, "RECEIPT_SERVERS", 0)
    for number in range(3):
        newest = send(alice, room.room_id, f"m{number}")
        read_up_to(alice, room.room_id, newest)
        streams.run(room_stream(RoomId(room.room_id)))
    assert elsewhere.transactions == []
    for _ in range(2):
        with acting_for(module_of(retry_destinations.handler)):
            retry_destinations.handler({})
        workers.run()
    (content,) = elsewhere.contents("m.receipt")
    assert content[room.room_id]["m.read"][alice.user_id]["event_ids"] == [newest]


def test_receipts_of_a_room_of_very_many_servers_go_to_some(
    alice: Client,
    elsewhere: Elsewhere,
    room: Mirror,
    streams: Streams,
    workers: Workers,
    make_elsewhere: Callable[[], Elsewhere],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The servers with the most members get them."""
    larger = make_elsewhere()
    for user_id in (larger.bob, UserId(f"@carol:{larger.name}")):
        assert room.kinds(room.member(user_id, user_id, "join")) == ["accepted"]
    workers.skip(room.room_id)
    monkeypatch.setattr(sending, "RECEIPT_SERVERS", 0)
    monkeypatch.setattr(sending, "MOST_RECEIPT_SERVERS", 1)
    sending.forget()
    read_up_to(alice, room.room_id, send(alice, room.room_id, "newest"))
    streams.run(room_stream(RoomId(room.room_id)))
    with acting_for(module_of(retry_destinations.handler)):
        retry_destinations.handler({})
    workers.run()
    assert larger.contents("m.receipt")
    assert not elsewhere.contents("m.receipt")


def test_what_is_late_isnt_sent(elsewhere: Elsewhere, room: Mirror) -> None:
    with acting_for("workers.sending"):
        fan_out.send_passing([{"edu_type": "m.typing", "content": {}}], [elsewhere.name], 1_000)
    assert elsewhere.transactions == []


def test_a_dead_server_misses_it_and_is_owed_nothing(
    alice: Client, elsewhere: Elsewhere, room: Mirror, streams: Streams
) -> None:
    from murmuration.storage.servers import backlogs

    elsewhere.silent = True
    set_typing(alice, room.room_id, is_typing=True)
    streams.run(room_stream(RoomId(room.room_id)))
    assert backlogs.read(ServerName(elsewhere.name)) is None
