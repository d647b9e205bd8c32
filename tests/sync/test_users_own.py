"""What a sync brings besides events of rooms: account data, to-device messages, keys, receipts, typing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration import clock
from murmuration.protocol.identifiers import DeviceId, UserId
from tests.budgets.meter import Meter
from tests.in_process import Client, segment
from tests.keys import crypto
from tests.logged_in import log_in
from tests.rooms.people import V3, create_room, invite, join, leave, ok, path, refused, relate, send
from tests.sync.client import Syncing, bodies_of, has_nothing, timeline

Make = Callable[..., Client]


def room_of_two(make_client: Make) -> tuple[Client, Client, str, Syncing]:
    """Return Alice's room with Bob in it, and Bob's place in the stream."""
    alice, bob = make_client("alice"), make_client("bob")
    room_id = create_room(alice, preset="public_chat")
    join(bob, room_id)
    syncing = Syncing(bob)
    syncing.sync()
    return alice, bob, room_id, syncing


def own(client: Client, *rest: str) -> str:
    return "/".join([f"{V3}/user/{segment(client.user_id)}", *(segment(part) for part in rest)])


def receipt(client: Client, room_id: str, event_id: str, kind: str = "m.read", **body: Any) -> None:
    ok(client.post(path(room_id, "receipt", kind, event_id), body))


def ephemeral(section: Any, event_type: str) -> list[Any]:
    events = section.get("ephemeral", {}).get("events", [])
    return [event["content"] for event in events if event["type"] == event_type]


def count(section: Any) -> tuple[int, int]:
    unread = section["unread_notifications"]
    return unread["notification_count"], unread["highlight_count"]


def test_account_data(make_client: Make) -> None:
    alice = make_client("alice")
    syncing = Syncing(alice)
    first = syncing.sync()
    assert [event["type"] for event in first["account_data"]["events"]] == ["m.push_rules"]
    ok(alice.put(own(alice, "account_data", "org.example"), {"n": 1}))
    assert syncing.sync()["account_data"]["events"] == [{"type": "org.example", "content": {"n": 1}}]
    assert has_nothing(syncing.sync())
    ok(alice.put(own(alice, "account_data", "org.example"), {"n": 2}))
    ok(alice.put(own(alice, "account_data", "org.example"), {"n": 3}))
    assert syncing.sync()["account_data"]["events"] == [{"type": "org.example", "content": {"n": 3}}]


def test_room_account_data_and_tags(make_client: Make) -> None:
    _, bob, room_id, syncing = room_of_two(make_client)
    ok(bob.put(own(bob, "rooms", room_id, "account_data", "org.example"), {"n": 1}))
    ok(bob.put(own(bob, "rooms", room_id, "tags", "u.work"), {"order": 0.5}))
    events = syncing.room(room_id)["account_data"]["events"]
    assert {event["type"] for event in events} == {"org.example", "m.tag"}
    filtered = Syncing(bob, filter={"room": {"account_data": {"types": ["m.tag"]}}})
    events = filtered.room(room_id)["account_data"]["events"]
    assert [event["type"] for event in events] == ["m.tag"]


def test_push_rules_come_when_they_change(make_client: Make) -> None:
    alice = make_client("alice")
    syncing = Syncing(alice)
    syncing.sync()
    ok(alice.put(f"{V3}/pushrules/global/room/!x:example.org", {"actions": ["notify"]}))
    (event,) = syncing.sync()["account_data"]["events"]
    assert event["content"]["global"]["room"][0]["rule_id"] == "!x:example.org"


def test_to_device_messages_stay_until_acknowledged(make_client: Make) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    syncing = Syncing(bob)
    syncing.sync()
    for number in range(3):
        body = {"messages": {bob.user_id: {bob.device_id: {"n": number}}}}
        ok(alice.put(f"{V3}/sendToDevice/org.example/{number}", body))
    first, again = syncing.peek(), syncing.peek()
    assert first["to_device"] == again["to_device"]
    assert [event["content"]["n"] for event in first["to_device"]["events"]] == [0, 1, 2]
    old = syncing.since
    syncing.since = first["next_batch"]
    assert has_nothing(syncing.sync())
    syncing.since = old
    assert "to_device" not in syncing.sync()


def test_to_device_messages_go_to_one_device(make_client: Make) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    other = log_in(UserId(bob.user_id), DeviceId("OTHER"))
    ours, theirs = Syncing(bob), Syncing(other)
    ours.sync()
    theirs.sync()
    ok(
        alice.put(
            f"{V3}/sendToDevice/org.example/1",
            {"messages": {bob.user_id: {"OTHER": {"n": 1}}}},
        )
    )
    assert has_nothing(ours.sync())
    assert len(theirs.sync()["to_device"]["events"]) == 1


def test_another_devices_token_does_not_acknowledge(make_client: Make) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    other = log_in(UserId(bob.user_id), DeviceId("OTHER"))
    for number, device in enumerate(("DEVICE", "OTHER")):
        body: Any = {"messages": {bob.user_id: {device: {}}}}
        ok(alice.put(f"{V3}/sendToDevice/org.example/{number}", body))
    taken = Syncing(bob)
    taken.sync()
    crossed = Syncing(other, taken.since)
    assert len(crossed.sync()["to_device"]["events"]) == 1
    assert len(Syncing(bob).sync()["to_device"]["events"]) == 1


def test_one_time_key_counts(make_client: Make) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    device = crypto.KeyPair(alice.device_id)
    identity = crypto.device_keys(alice.user_id, alice.device_id, device)
    ok(alice.post(f"{V3}/keys/upload", {"device_keys": identity}))
    syncing = Syncing(alice)
    assert syncing.sync()["device_one_time_keys_count"] == {}
    keys = crypto.one_time_keys(alice.user_id, device, ["A", "B"])
    ok(alice.post(f"{V3}/keys/upload", {"one_time_keys": keys}))
    answer = syncing.sync()
    assert answer["device_one_time_keys_count"] == {"signed_curve25519": 2}
    assert answer["device_unused_fallback_key_types"] == []
    claim = {"one_time_keys": {alice.user_id: {alice.device_id: "signed_curve25519"}}}
    ok(bob.post(f"{V3}/keys/claim", claim))
    assert syncing.sync()["device_one_time_keys_count"] == {"signed_curve25519": 1}
    assert syncing.sync()["device_one_time_keys_count"] == {"signed_curve25519": 1}


def encrypted(client: Client, **body: Any) -> str:
    content = {"algorithm": "m.megolm.v1.aes-sha2"}
    initial = [{"type": "m.room.encryption", "content": content}]
    return create_room(client, initial_state=initial, **body)


def test_device_lists_of_those_who_come_and_go(make_client: Make) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    room_id = encrypted(alice, preset="public_chat")
    syncing = Syncing(alice)
    assert "device_lists" not in syncing.sync()
    join(bob, room_id)
    assert bob.user_id in syncing.sync()["device_lists"]["changed"]
    leave(bob, room_id)
    assert syncing.sync()["device_lists"]["left"] == [bob.user_id]


def test_who_shares_another_room_has_not_left(make_client: Make) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    rooms = [encrypted(alice, preset="public_chat") for _ in range(2)]
    for room_id in rooms:
        join(bob, room_id)
    syncing = Syncing(alice)
    syncing.sync()
    leave(bob, rooms[0])
    assert "device_lists" not in syncing.sync()
    leave(bob, rooms[1])
    assert syncing.sync()["device_lists"]["left"] == [bob.user_id]


def test_device_lists_after_leaving(make_client: Make) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    room_id = encrypted(alice, preset="public_chat")
    join(bob, room_id)
    syncing = Syncing(bob)
    syncing.sync()
    leave(bob, room_id)
    assert syncing.sync()["device_lists"]["left"] == [alice.user_id]


def test_who_shares_only_a_room_without_encryption_has_left(make_client: Make) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    room_id, plain = encrypted(alice, preset="public_chat"), create_room(alice, preset="public_chat")
    join(bob, room_id)
    join(bob, plain)
    one, other = Syncing(alice), Syncing(bob)
    one.sync()
    other.sync()
    leave(bob, room_id)
    assert one.sync()["device_lists"] == {"changed": [], "left": [bob.user_id]}
    assert other.sync()["device_lists"] == {"changed": [], "left": [alice.user_id]}


def test_who_changes_their_name_or_declines_neither_came_nor_left(make_client: Make) -> None:
    alice, bob, carol = (make_client(name) for name in ("alice", "bob", "carol"))
    room_id = encrypted(alice, preset="public_chat")
    join(bob, room_id)
    syncing = Syncing(alice)
    syncing.sync()
    ok(bob.put(f"{V3}/profile/{segment(bob.user_id)}/displayname", {"displayname": "Robert"}))
    invite(alice, room_id, carol)
    leave(carol, room_id)
    answer = syncing.sync()
    assert len(timeline(answer["rooms"]["join"][room_id])) == 3
    assert "device_lists" not in answer
    leave(bob, room_id)
    join(bob, room_id)
    assert syncing.sync()["device_lists"] == {"changed": [bob.user_id], "left": []}


@pytest.mark.parametrize("others", [0, 2])
def test_leaving_a_large_room_takes_no_request_for_each_member(make_client: Make, others: int) -> None:
    alice, bob, carol = (make_client(name) for name in ("alice", "bob", "carol"))
    for room_id in (encrypted(alice, preset="public_chat") for _ in range(others)):
        join(bob, room_id)
    room_id = encrypted(alice, preset="public_chat")
    members = [make_client(f"member{number}") for number in range(12)]
    for member in (bob, carol, *members):
        join(member, room_id)
    syncing = Syncing(bob)
    syncing.sync()
    leave(bob, room_id)
    with Meter() as meter:
        left = syncing.sync()["device_lists"]["left"]
    gone = {carol.user_id, *(member.user_id for member in members)}
    assert set(left) == (gone if others else gone | {alice.user_id})
    assert len(meter.spent.requests) < 24


def test_receipts(make_client: Make) -> None:
    alice, bob, room_id, syncing = room_of_two(make_client)
    event_id = send(bob, room_id)
    syncing.sync()
    receipt(alice, room_id, event_id)
    (content,) = ephemeral(syncing.room(room_id), "m.receipt")
    assert set(content[event_id]["m.read"]) == {alice.user_id}
    receipt(alice, room_id, event_id, "m.read.private")
    assert has_nothing(syncing.sync())


def test_private_receipts_are_the_readers_own(make_client: Make) -> None:
    alice, bob, room_id, syncing = room_of_two(make_client)
    event_id = send(alice, room_id)
    syncing.sync()
    receipt(bob, room_id, event_id, "m.read.private")
    section = syncing.room(room_id)
    (content,) = ephemeral(section, "m.receipt")
    assert set(content[event_id]["m.read.private"]) == {bob.user_id}
    assert count(section) == (0, 0)


def test_unread_counts(make_client: Make) -> None:
    alice, bob, room_id, syncing = room_of_two(make_client)
    first = send(alice, room_id, "one")
    assert count(syncing.room(room_id)) == (1, 0)
    send(alice, room_id, {"msgtype": "m.text", "body": "x", "m.mentions": {"user_ids": [bob.user_id]}})
    assert count(syncing.room(room_id)) == (2, 1)
    receipt(bob, room_id, first)
    assert count(syncing.room(room_id)) == (1, 1)
    send(bob, room_id, "mine")
    assert count(syncing.room(room_id)) == (0, 0)
    assert count(Syncing(bob).room(room_id)) == (0, 0)


def test_unread_counts_by_thread(make_client: Make) -> None:
    alice, bob, room_id, _ = room_of_two(make_client)
    threads = {"room": {"timeline": {"unread_thread_notifications": True}}}
    syncing = Syncing(bob, filter=threads)
    root = send(alice, room_id, "root")
    syncing.sync()
    reply = relate(alice, room_id, root, "m.thread")
    section = syncing.room(room_id)
    assert count(section) == (1, 0)
    assert section["unread_thread_notifications"][root]["notification_count"] == 1
    receipt(bob, room_id, reply, thread_id=root)
    section = syncing.room(room_id)
    assert count(section) == (1, 0)
    assert "unread_thread_notifications" not in section
    receipt(bob, room_id, root, thread_id="main")
    assert count(syncing.room(room_id)) == (0, 0)


def test_a_first_sync_counts_threads_beside_the_main_timeline(make_client: Make) -> None:
    alice, bob, room_id, _ = room_of_two(make_client)
    threads = {"room": {"timeline": {"unread_thread_notifications": True}}}
    root, other = send(alice, room_id, "root"), send(alice, room_id, "another")
    relate(alice, room_id, root, "m.thread")
    read = relate(alice, room_id, other, "m.thread")
    receipt(bob, room_id, read, thread_id=other)
    receipt(bob, room_id, send(alice, room_id, "last"), thread_id="main")
    section = Syncing(bob, filter=threads).room(room_id)
    assert count(section) == (0, 0)
    assert section["unread_thread_notifications"] == {root: {"notification_count": 1, "highlight_count": 0}}


def test_an_earlier_receipt_of_another_kind_makes_nothing_unread(make_client: Make) -> None:
    alice, bob, room_id, _ = room_of_two(make_client)
    syncing = Syncing(bob, filter={"room": {"timeline": {"unread_thread_notifications": True}}})
    root, second, last = (send(alice, room_id, text) for text in ("root", "second", "last"))
    relate(alice, room_id, root, "m.thread")
    receipt(bob, room_id, last, thread_id="main")
    section = syncing.room(room_id)
    receipt(bob, room_id, second)
    again = syncing.room(room_id)
    assert count(section) == count(again) == (0, 0)
    assert again["unread_thread_notifications"] == section["unread_thread_notifications"]
    assert again["unread_thread_notifications"][root]["notification_count"] == 1


def test_typing_ends_by_itself(make_client: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, _, room_id, syncing = room_of_two(make_client)
    ok(alice.put(path(room_id, "typing", alice.user_id), {"typing": True, "timeout": 5_000}))
    assert ephemeral(syncing.room(room_id), "m.typing") == [{"user_ids": [alice.user_id]}]
    assert has_nothing(syncing.sync())
    later = clock.now_ms() + 5_001
    for module in ("murmuration.sync.assembly.assembling", "murmuration.sync.waiting"):
        monkeypatch.setattr(f"{module}.now_ms", lambda: later)
    assert ephemeral(syncing.room(room_id), "m.typing") == [{"user_ids": []}]
    assert has_nothing(syncing.sync())


def test_typing_that_is_stopped(make_client: Make) -> None:
    alice, _, room_id, syncing = room_of_two(make_client)
    for typing in (True, False):
        ok(alice.put(path(room_id, "typing", alice.user_id), {"typing": typing, "timeout": 5_000}))
        users = [alice.user_id] if typing else []
        assert ephemeral(syncing.room(room_id), "m.typing") == [{"user_ids": users}]


@pytest.mark.parametrize("way", ["invited", "come back"])
def test_a_room_comes_with_the_data_that_it_was_given_before(make_client: Make, way: str) -> None:
    alice, bob, room_id, _ = room_of_two(make_client)
    ok(bob.post(path(room_id, "read_markers"), {"m.fully_read": send(alice, room_id)}))
    if way == "invited":
        room_id = create_room(alice, invite=[bob.user_id])
    else:
        leave(bob, room_id)
        invite(alice, room_id, bob)
    ok(bob.put(own(bob, "rooms", room_id, "tags", "u.before"), {}))
    fresh = Syncing(bob)
    fresh.sync()
    join(bob, room_id)
    section = fresh.room(room_id)
    events = {event["type"]: event["content"] for event in section["account_data"]["events"]}
    assert events["m.tag"] == {"tags": {"u.before": {}}}
    assert ("m.fully_read" in events) == (way == "come back")
    send(alice, room_id)
    assert fresh.room(room_id)["account_data"]["events"] == []


def test_ignored_users(make_client: Make) -> None:
    alice, bob, room_id, syncing = room_of_two(make_client)
    ignored: Any = {"ignored_users": {alice.user_id: {}}}
    ok(bob.put(own(bob, "account_data", "m.ignored_user_list"), ignored))
    syncing.sync()
    send(alice, room_id, "unheard")
    invite(alice, create_room(alice), bob)
    answer = syncing.sync()
    assert "invite" not in answer.get("rooms", {})
    assert bodies_of(answer, room_id) == []
    fresh = Syncing(bob).room(room_id)
    assert "unheard" not in [event["content"].get("body") for event in timeline(fresh)]
    assert count(fresh) == (0, 0)


def test_ignored_users_neither_type_nor_read(make_client: Make) -> None:
    alice, bob, room_id, syncing = room_of_two(make_client)
    carol = make_client("carol")
    invite(alice, room_id, carol)
    join(carol, room_id)
    event_id = send(bob, room_id)
    ok(bob.put(own(bob, "account_data", "m.ignored_user_list"), {"ignored_users": {alice.user_id: {}}}))
    syncing.sync()
    for other in (alice, carol):
        ok(other.put(path(room_id, "typing", other.user_id), {"typing": True, "timeout": 30_000}))
        ok(other.post(path(room_id, "receipt", "m.read", event_id)))
    for section in (syncing.room(room_id), Syncing(bob).room(room_id)):
        assert ephemeral(section, "m.typing") == [{"user_ids": [carol.user_id]}]
        [receipts] = ephemeral(section, "m.receipt")
        assert list(receipts[event_id]["m.read"]) == [carol.user_id]
    ok(bob.put(own(bob, "account_data", "m.ignored_user_list"), {"ignored_users": {}}))
    assert ephemeral(Syncing(bob).room(room_id), "m.typing") == [
        {"user_ids": sorted([alice.user_id, carol.user_id])}
    ]


def test_a_first_sync_shows_no_invites_of_ignored_users(make_client: Make) -> None:
    alice, bob, _, _ = room_of_two(make_client)
    room_id = create_room(alice, invite=[bob.user_id])
    assert room_id in Syncing(bob).sync()["rooms"]["invite"]
    ok(bob.put(own(bob, "account_data", "m.ignored_user_list"), {"ignored_users": {alice.user_id: {}}}))
    assert "invite" not in Syncing(bob).sync()["rooms"]


def test_blocked_invites(make_client: Make) -> None:
    alice, bob, _, syncing = room_of_two(make_client)
    before = create_room(alice, invite=[bob.user_id])
    block = own(bob, "account_data", "m.invite_permission_config")
    ok(bob.put(block, {"default_action": "block"}))
    for each in (syncing, Syncing(bob)):
        assert "invite" not in each.sync().get("rooms", {})
    assert has_nothing(syncing.sync())
    other = create_room(alice)
    member = {"membership": "invite"}
    for answer in (
        alice.post(path(other, "invite"), {"user_id": bob.user_id}),
        alice.post(f"{V3}/createRoom", {"invite": [bob.user_id]}),
        alice.put(path(other, "state", "m.room.member", bob.user_id), member),
        alice.post(f"/_matrix/client/v2/rooms/{segment(other)}/invite", {"user_id": bob.user_id}),
        alice.put(f"/_matrix/client/v2/rooms/{segment(other)}/state/m.room.member/{bob.user_id}", member),
    ):
        refused(answer, 403, "M_INVITE_BLOCKED")
    ok(bob.put(block, {"default_action": "unheard of"}))
    invite(alice, other, bob)
    assert syncing.sync()["rooms"]["invite"].keys() == {before, other}


def test_ephemeral_filter(make_client: Make) -> None:
    alice, bob, room_id, _ = room_of_two(make_client)
    syncing = Syncing(bob, filter={"room": {"ephemeral": {"types": ["m.typing"]}}})
    syncing.sync()
    receipt(alice, room_id, send(bob, room_id))
    assert ephemeral(syncing.room(room_id), "m.receipt") == []
