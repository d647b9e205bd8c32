"""Messages from device to device across servers: none lost, none twice, in order."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local_cloud.permissions import acting_for
from murmuration.federation.devices import messages
from murmuration.federation.outbound import fan_out, logs, pokes
from murmuration.federation.requests import health
from murmuration.protocol.identifiers import DeviceId, ServerName, UserId
from murmuration.storage.live import streams as live_streams
from murmuration.storage.live import to_device
from murmuration.storage.servers import backlogs, outgoing_messages
from tests.federation.devices.elsewhere import Elsewhere, Streams
from tests.federation.network import Reply
from tests.federation.outbound import Workers
from tests.in_process import Client, segment
from tests.logged_in import log_in
from tests.rooms.other_servers import Mirror

_txn_ids = itertools.count()


def send(client: Client, wanted: Any, *, txn_id: str = "", event_type: str = "m.test") -> int:
    txn_id = txn_id or f"t{next(_txn_ids)}"
    path = f"/_matrix/client/v3/sendToDevice/{event_type}/{segment(txn_id)}"
    return client.put(path, {"messages": wanted}).status


def inbox(client: Client) -> list[Any]:
    return [
        event["content"]
        for event in to_device.read(UserId(client.user_id), DeviceId(client.device_id), 0, 1000).events
    ]


def got(elsewhere: Elsewhere) -> list[Any]:
    return [content["messages"] for content in elsewhere.contents("m.direct_to_device")]


# -- Out -------------------------------------------------------------------------------------------------


def test_a_message_goes_to_its_devices(alice: Client, elsewhere: Elsewhere, workers: Workers) -> None:
    wanted = {elsewhere.bob: {"PHONE": {"n": 1.5}, "*": {"n": 2}}}
    assert send(alice, wanted, event_type="m.room.encrypted") == 200
    workers.run()
    (edu,) = elsewhere.edus
    content = edu["content"]
    assert edu["edu_type"] == "m.direct_to_device"
    assert (content["sender"], content["type"]) == (alice.user_id, "m.room.encrypted")
    assert content["messages"] == wanted
    assert 0 < len(content["message_id"]) <= 32
    assert outgoing_messages.read(ServerName(elsewhere.name), limit=10, most_bytes=10**6) == ([], True)


def test_a_repetition_sends_nothing_again(alice: Client, elsewhere: Elsewhere, workers: Workers) -> None:
    for _ in range(2):
        assert send(alice, {elsewhere.bob: {"PHONE": {}}}, txn_id="same") == 200
    workers.run()
    assert send(alice, {elsewhere.bob: {"PHONE": {}}}, txn_id="same") == 200
    workers.run()
    assert len(elsewhere.edus) == 1


def test_many_and_large_messages_are_cut_to_what_a_transaction_takes(
    alice: Client, elsewhere: Elsewhere, workers: Workers
) -> None:
    wanted = {
        f"@u{user}:{elsewhere.name}": {f"D{n}": {"x": "y" * 20_000} for n in range(10)} for user in range(8)
    }
    assert send(alice, wanted) == 200
    for number in range(120):
        assert send(alice, {elsewhere.bob: {"PHONE": {"n": number}}}) == 200
    workers.run()
    assert all(len(transaction["edus"]) <= 100 for transaction in elsewhere.transactions)
    assert all(len(json.dumps(transaction)) < 1_100_000 for transaction in elsewhere.transactions)
    found: dict[Any, Any] = {}
    for part in got(elsewhere):
        for user_id, by_device in part.items():
            found.setdefault(user_id, {}).update(by_device)
    assert {user_id: found[user_id] for user_id in wanted} == wanted
    assert [part[elsewhere.bob]["PHONE"]["n"] for part in got(elsewhere) if elsewhere.bob in part] == list(
        range(120)
    )
    ids = [content["message_id"] for content in elsewhere.contents("m.direct_to_device")]
    assert len(set(ids)) == len(ids)


def test_a_worker_leaves_the_rest_to_another(
    alice: Client, elsewhere: Elsewhere, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fan_out, "BUDGET_MS", -1)
    for number in range(120):
        send(alice, {elsewhere.bob: {"PHONE": {"n": number}}})
    (record, *_) = workers.messages()
    workers.handle(record)
    assert len(got(elsewhere)) == 100
    workers.run()
    assert [part[elsewhere.bob]["PHONE"]["n"] for part in got(elsewhere)] == list(range(120))


def test_an_outage_loses_nothing(alice: Client, elsewhere: Elsewhere, workers: Workers) -> None:
    elsewhere.silent = True
    for number in range(3):
        send(alice, {elsewhere.bob: {"PHONE": {"n": number}}})
        workers.run()
    assert backlogs.read(ServerName(elsewhere.name)) is not None
    elsewhere.silent = False
    health.well(ServerName(elsewhere.name))
    workers.tick()
    assert [part[elsewhere.bob]["PHONE"]["n"] for part in got(elsewhere)] == [0, 1, 2]
    assert backlogs.read(ServerName(elsewhere.name)) is None
    send(alice, {elsewhere.bob: {"PHONE": {"n": 3}}})
    workers.run()
    assert [part[elsewhere.bob]["PHONE"]["n"] for part in got(elsewhere)] == [0, 1, 2, 3]


def test_who_stops_before_confirming_sends_the_same_again(
    alice: Client, elsewhere: Elsewhere, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(alice, {elsewhere.bob: {"PHONE": {"n": 1}}})
    workers.messages()
    with monkeypatch.context() as patch, acting_for("workers.sending"):
        patch.setattr(logs, "confirm", lambda *_: (_ for _ in ()).throw(TimeoutError))
        with pytest.raises(TimeoutError):
            fan_out.send_messages(ServerName(elsewhere.name))
    with acting_for("workers.sending"):
        fan_out.send_messages(ServerName(elsewhere.name))
    first, second = elsewhere.contents("m.direct_to_device")
    assert first == second, "the same message ID, by which the other server knows it"


def test_what_waits_for_a_dead_server_is_bounded(
    alice: Client, elsewhere: Elsewhere, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing_messages, "MOST_WAITING", 2)
    elsewhere.silent = True
    for number in range(5):
        assert send(alice, {elsewhere.bob: {"PHONE": {"n": number}}}) == 200
    waiting, is_all = outgoing_messages.read(ServerName(elsewhere.name), limit=10, most_bytes=10**6)
    assert (len(waiting), is_all) == (2, True)
    elsewhere.silent = False
    workers.run()
    assert len(got(elsewhere)) == 2
    send(alice, {elsewhere.bob: {"PHONE": {"n": 9}}})
    workers.run()
    assert len(got(elsewhere)) == 3


def test_messages_and_events_owed_go_together(
    alice: Client, elsewhere: Elsewhere, room: Mirror, streams: Streams, workers: Workers
) -> None:
    from tests.rooms.people import send as say

    elsewhere.silent = True
    say(alice, room.room_id, "missed")
    workers.run(room.room_id)
    send(alice, {elsewhere.bob: {"PHONE": {"n": 1}}})
    workers.run()
    elsewhere.silent = False
    elsewhere.lies["send"] = Reply({"pdus": {}})
    health.well(ServerName(elsewhere.name))
    workers.tick()
    assert got(elsewhere) == [{elsewhere.bob: {"PHONE": {"n": 1}}}]
    assert sum(len(transaction["pdus"]) for transaction in elsewhere.transactions) == 1
    assert backlogs.read(ServerName(elsewhere.name)) is None


# -- In --------------------------------------------------------------------------------------------------


def test_a_message_arrives_once(alice: Client, elsewhere: Elsewhere) -> None:
    content = elsewhere.message({alice.user_id: {"ALICE": {"n": 1}}})
    for _ in range(3):
        assert elsewhere.tell(content, content, kind="m.direct_to_device").json == {"pdus": {}}
    assert inbox(alice) == [{"n": 1}]
    (event,) = to_device.read(UserId(alice.user_id), DeviceId("ALICE"), 0, 10).events
    assert event == {"type": "m.test", "sender": elsewhere.bob, "content": {"n": 1}}
    to_device.acknowledge(UserId(alice.user_id), DeviceId("ALICE"), 10)
    elsewhere.tell(content, kind="m.direct_to_device")
    assert inbox(alice) == []


def test_message_ids_are_each_servers_own(
    alice: Client, elsewhere: Elsewhere, make_elsewhere: Callable[[], Elsewhere]
) -> None:
    for server in (elsewhere, make_elsewhere()):
        content = server.message({alice.user_id: {"ALICE": {}}}, message_id="1")
        server.tell(content, kind="m.direct_to_device")
    assert len(inbox(alice)) == 2


def test_many_arrive_in_order_and_a_star_means_all(alice: Client, elsewhere: Elsewhere) -> None:
    others = [log_in(UserId(alice.user_id), DeviceId(f"D{number}")) for number in range(40)]
    contents = [elsewhere.message({alice.user_id: {"ALICE": {"n": number}}}) for number in range(60)]
    contents.insert(30, elsewhere.message({alice.user_id: {"*": {"n": "all"}, "ALICE": {"n": "named"}}}))
    elsewhere.tell(*contents, kind="m.direct_to_device")
    assert [each["n"] for each in inbox(alice)] == [*range(30), "named", *range(30, 60)]
    assert all(inbox(other) == [{"n": "all"}] for other in others)


@pytest.mark.parametrize(
    "change",
    [
        {"sender": "@mallory:another.example"},
        {"sender": 5},
        {"sender": "@b b:{name}"},
        {"type": None},
        {"type": "x" * 300},
        {"message_id": "x" * 33},
        {"message_id": ""},
        {"message_id": 5},
        {"messages": []},
        {"messages": {"@alice": 5}},
        {"messages": {"@u:another.example": {"ALICE": {}}}},
        {"messages": {"{alice}": {"ALICE": {"n": 10**400}}}},
    ],
)
def test_what_is_no_message_is_ignored(alice: Client, elsewhere: Elsewhere, change: dict[str, Any]) -> None:
    good = elsewhere.message({alice.user_id: {"ALICE": {"n": 1}, "NONE": {}, "": {}}})
    if isinstance(sender := change.get("sender"), str):
        change = {"sender": sender.format(name=elsewhere.name)}
    if isinstance(messages := change.get("messages"), dict):
        change = {"messages": {name.format(alice=alice.user_id): value for name, value in messages.items()}}
    bad = {**elsewhere.message({alice.user_id: {"ALICE": {"n": 2}}}), **change}
    assert elsewhere.tell(bad, good, kind="m.direct_to_device").status == 200
    assert inbox(alice) == [{"n": 1}]
    huge = elsewhere.message({alice.user_id: {"ALICE": {"x": "y" * 70_000}}})
    assert elsewhere.tell(huge, kind="m.direct_to_device").status == 200
    assert len(inbox(alice)) == 1


def test_who_stops_halfway_is_sent_it_again(
    alice: Client, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of several transactions is stored, then the function stops. The sender repeats all of
    them.
    """
    contents = [elsewhere.message({alice.user_id: {"ALICE": {"n": number}}}) for number in range(50)]
    together, calls = to_device._deliver_together, itertools.count()

    def stop_at_the_second(sendings: Any, admit: Any) -> None:
        if next(calls) == 1:
            raise TimeoutError
        together(sendings, admit)

    with monkeypatch.context() as patch:
        patch.setattr(to_device, "_deliver_together", stop_at_the_second)
        assert elsewhere.tell(*contents, kind="m.direct_to_device").status == 500
    assert 0 < len(inbox(alice)) < 50
    assert elsewhere.tell(*contents, kind="m.direct_to_device").status == 200
    assert [each["n"] for each in inbox(alice)] == list(range(50))


def test_messages_are_limited_by_server(
    alice: Client, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    from murmuration.identity import rate_limits
    from murmuration.identity.rate_limits import Limit
    from murmuration.settings import settings as read_settings

    monkeypatch.setenv("MURMURATION_RATE_LIMITS", "on")
    read_settings.cache_clear()
    limits = {**rate_limits.LIMITS, "federation_to_device": Limit(0.001, 2)}
    monkeypatch.setattr(rate_limits, "LIMITS", limits)
    contents = [elsewhere.message({alice.user_id: {"ALICE": {"n": number}}}) for number in range(3)]
    statuses = [elsewhere.tell(content, kind="m.direct_to_device").status for content in contents]
    assert statuses == [200, 200, 429]
    assert len(inbox(alice)) == 2


@given(st.lists(st.lists(st.integers(0, 30), max_size=12), max_size=6))
@settings(max_examples=15, suppress_health_check=list(HealthCheck))
def test_however_it_is_repeated_each_comes_once(
    deployment: None, fresh_user_id: Callable[[str], str], transactions: list[list[int]]
) -> None:
    alice = log_in(UserId(fresh_user_id("alice")), DeviceId("ALICE"))
    origin = ServerName(f"{alice.user_id[1:].partition(':')[0]}.example")
    first_seen: list[int] = []
    for transaction in transactions:
        contents = [
            {
                "sender": f"@bob:{origin}",
                "type": "m.test",
                "message_id": str(number),
                "messages": {alice.user_id: {"ALICE": {"n": number}}},
            }
            for number in transaction
        ]
        messages.take_messages(origin, contents)
        first_seen += [number for number in dict.fromkeys(transaction) if number not in first_seen]
    assert [each["n"] for each in inbox(alice)] == first_seen
    head = live_streams.read_head(live_streams.device_stream(UserId(alice.user_id), DeviceId("ALICE")))
    assert head == len(first_seen)


def test_servers_that_do_not_answer_are_waited_for_together(
    alice: Client, elsewhere: Elsewhere, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other servers' events would have to wait if these were asked one after the other."""
    ordered: list[Any] = []
    order = pokes.order

    def note(found: Any) -> None:
        ordered.extend(found)
        order(found)

    monkeypatch.setattr(pokes, "order", note)
    servers = [f"dead{number}.invalid" for number in range(40)]
    assert send(alice, {f"@a:{name}": {"X": {}} for name in [*servers, elsewhere.name]}) == 200
    named = [message.body["messages_to"] for message in ordered]
    assert sorted(name for names in named for name in names) == sorted([*servers, elsewhere.name])
    assert len(named) <= pokes.GROUPS
    workers.run()
    assert len(elsewhere.edus) == 1
    assert all(backlogs.read(ServerName(name)) is not None for name in servers)


def test_a_message_of_a_version_before(alice: Client, elsewhere: Elsewhere, workers: Workers) -> None:
    """A message in the previous release's form named one server."""
    from murmuration.federation.outbound import working

    assert send(alice, {elsewhere.bob: {"PHONE": {}}}) == 200
    with acting_for("workers.sending"):
        working.work({"messages_to": elsewhere.name})
    assert len(elsewhere.edus) == 1


def test_messages_for_too_many_servers(
    alice: Client, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "MOST_SERVERS", 2)
    assert send(alice, {f"@a:s{number}.invalid": {"X": {}} for number in range(3)}) == 413
    assert send(alice, {f"@a:s{number}.invalid": {"X": {}} for number in range(2)}) == 200
