"""Which budget pays for a request, the amounts taken before the work, and the charges of Streams workers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from murmuration.aws import dynamodb
from murmuration.clock import now_ms
from murmuration.delivery import wakes
from murmuration.identity import budgets
from murmuration.identity.tokens import ACCESS, render_token
from murmuration.protocol.identifiers import DeviceId, RoomId, ServerName, UserId
from murmuration.storage.live import listeners, streams
from murmuration.storage.live.listeners import Socket
from murmuration.storage.rooms import room_items
from murmuration.storage.users.accounts import device_key
from tests.identity.buckets import spend_all, spent
from tests.identity.conftest import Clock
from tests.in_process import Client
from tests.rooms.people import V3, create_room, join, ok, path, refused

Make = Callable[..., Client]
ALGORITHM = "m.megolm_backup.v1.curve25519-aes-sha2"
KEY = {"first_message_index": 0, "forwarded_count": 0, "is_verified": False}
pytestmark = pytest.mark.usefixtures("limits_on")


def charged(owner: str, clock: Clock, work: Callable[[], Any]) -> float:
    """Return the charge of a piece of work."""
    budgets._parts.setdefault(owner, 0.0)
    before = spent(owner, clock.now)
    work()
    return spent(owner, clock.now) - before


def leave(owner: str, microdollars: float) -> None:
    """Leave this amount in a bucket that was full."""
    budgets._parts[owner] = 0.0
    budgets.charge(owner, budgets.burst() - microdollars)


def test_a_token_that_is_not_known_costs_its_user_nothing(clock: Clock, make_client: Make):
    alice = make_client()
    forged = render_token(ACCESS, UserId(alice.user_id), DeviceId(alice.device_id), "guessed")
    for uri in ("/account/whoami", "/sync", "/joined_rooms"):
        before = spent(alice.user_id, clock.now)
        assert Client(forged).get(V3 + uri).status == 401
        assert spent(alice.user_id, clock.now) == before


def test_messages_to_many_devices_are_paid_for_before_any_is_sent(clock: Clock, make_client: Make):
    alice, bob = make_client("alice"), make_client("bob")
    devices = [
        {**device_key(UserId(bob.user_id), DeviceId(f"D{number}")), "access_hash": "x"}
        for number in range(40)
    ]
    dynamodb.batch_write([dynamodb.put("users", device) for device in devices])
    cost = 40 * 3 * 63 * budgets.WRITE_UNIT
    leave(alice.user_id, cost * 0.9)
    body = {"messages": {bob.user_id: {"*": {"x": "x" * 64_000}}}}
    refused(alice.put(f"{V3}/sendToDevice/m.x/1", body), 429, "M_LIMIT_EXCEEDED")
    assert streams.read_head(streams.device_stream(UserId(bob.user_id), DeviceId("D7"))) == 0
    budgets.charge(alice.user_id, -cost)
    ok(alice.put(f"{V3}/sendToDevice/m.x/1", body))
    assert streams.read_head(streams.device_stream(UserId(bob.user_id), DeviceId("D7"))) == 1


def test_keys_of_a_backup_are_paid_for_before_any_is_stored(clock: Clock, make_client: Make):
    alice = make_client()
    version = ok(alice.post(f"{V3}/room_keys/version", {"algorithm": ALGORITHM, "auth_data": {}}))["version"]
    sessions = {f"s{number}": {**KEY, "session_data": {}} for number in range(600)}
    leave(alice.user_id, 600 * budgets.WRITE_UNIT)
    body = {"rooms": {"!r:example.org": {"sessions": sessions}}}
    answer = alice.put(f"{V3}/room_keys/keys", body, version=version)
    refused(answer, 429, "M_LIMIT_EXCEEDED")
    budgets.charge(alice.user_id, -budgets.burst())
    assert ok(alice.get(f"{V3}/room_keys/version"))["count"] == 0


def test_a_first_login_with_many_keys_and_rooms_meets_no_limit(clock: Clock, make_client: Make):
    host, alice = make_client("host"), make_client("alice")
    rooms = [create_room(host, preset="public_chat") for _ in range(10)]
    version = ok(alice.post(f"{V3}/room_keys/version", {"algorithm": ALGORITHM, "auth_data": {}}))["version"]

    def log_in() -> None:
        for start in range(0, 2000, 200):
            sessions = {
                f"s{number}": {**KEY, "session_data": {"ciphertext": "x" * 700}}
                for number in range(start, start + 200)
            }
            body = {"rooms": {"!r:example.org": {"sessions": sessions}}}
            ok(alice.put(f"{V3}/room_keys/keys", body, version=version))

    assert charged(alice.user_id, clock, log_in) < budgets.burst() / 10

    def join_all() -> None:
        for room in rooms:
            join(alice, room)

    joins = charged(alice.user_id, clock, join_all)
    assert joins * 100 < budgets.burst(), "a thousand rooms"
    assert charged(alice.user_id, clock, lambda: ok(alice.get(f"{V3}/sync"))) < budgets.burst() / 100


# -- Wakes -----------------------------------------------------------------------------------------------


class Waiting:
    """Connections that wait, and those of them that were told to look."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[str] = []
        monkeypatch.setattr(wakes, "order_pushes", self._tell)

    def _tell(self, pushes: Sequence[wakes.SocketPush]) -> None:
        self.told += [push["connection_id"] for push in pushes]

    def add(self, client: Client, count: int = 1) -> None:
        for number in range(count):
            socket = Socket(UserId(client.user_id), DeviceId(client.device_id), f"{client.user_id}/{number}")
            listeners.add_socket(socket, now_ms() // 1000 + 600)


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Waiting:
    return Waiting(monkeypatch)


def newest(stream: str) -> list[dict[str, Any]]:
    return list(streams.read_after(stream, streams.read_head(stream) - 1))


def test_whoever_sends_pays_for_those_who_are_woken(clock: Clock, make_client: Make, waiting: Waiting):
    alice, bob = make_client("alice"), make_client("bob")
    room_id = RoomId(create_room(alice, preset="public_chat"))
    join(bob, room_id)
    waiting.add(bob, 5)
    ok(alice.put(path(room_id, "send", "m.room.message", "1"), {"msgtype": "m.text", "body": "x"}))
    head = room_items.read_head(room_id)
    assert head is not None
    entry = dynamodb.get("room-log", room_items.log_key(room_id, head.ordinal))
    assert entry is not None
    assert charged(alice.user_id, clock, lambda: wakes.wake_for_log_entries([entry])) == pytest.approx(
        5 * budgets.WAKE
    )
    assert len(waiting.told) == 5


@pytest.mark.parametrize("kind", ["typing", "receipt", "to-device", "devices"])
def test_whoever_changes_a_stream_pays_for_those_who_are_woken(
    kind: str, clock: Clock, make_client: Make, waiting: Waiting
):
    alice, bob = make_client("alice"), make_client("bob")
    room_id = RoomId(create_room(alice, preset="public_chat"))
    join(bob, room_id)
    waiting.add(bob)
    stream = streams.room_stream(room_id)
    event_id = ok(
        alice.put(path(room_id, "send", "m.room.message", "1"), {"msgtype": "m.text", "body": "x"})
    )["event_id"]
    if kind == "typing":
        ok(alice.put(path(room_id, "typing", alice.user_id), {"typing": True, "timeout": 30_000}))
    elif kind == "receipt":
        ok(alice.post(path(room_id, "receipt", "m.read", event_id)))
    elif kind == "devices":
        keys = {"user_id": alice.user_id, "device_id": alice.device_id, "algorithms": [], "keys": {}}
        ok(alice.post(f"{V3}/keys/upload", {"device_keys": {**keys, "signatures": {}}}))
    else:
        stream = streams.device_stream(UserId(bob.user_id), DeviceId(bob.device_id))
        ok(alice.put(f"{V3}/sendToDevice/m.x/1", {"messages": {bob.user_id: {bob.device_id: {}}}}))
    items = newest(stream)
    cost = charged(alice.user_id, clock, lambda: wakes.wake_for_stream_items(items))
    assert cost == pytest.approx(budgets.WAKE)
    assert len(waiting.told) == 1


BOB = "@bob:elsewhere.example"


def remote_event(room_id: RoomId) -> dict[str, Any]:
    """Return the newest entry of a room's log, as if a user of another server had sent it."""
    head = room_items.read_head(room_id)
    assert head is not None
    entry = dynamodb.get("room-log", room_items.log_key(room_id, head.ordinal))
    assert entry is not None
    return {**entry, "json": json.dumps({**json.loads(entry["json"]), "sender": BOB})}


def test_a_server_pays_for_those_whom_its_users_wake(clock: Clock, make_client: Make, waiting: Waiting):
    alice = make_client("alice")
    room_id = RoomId(create_room(alice))
    waiting.add(alice, 5)
    entry = remote_event(room_id)
    owner = budgets.rings_owner(ServerName("elsewhere.example"))
    cost = charged(owner, clock, lambda: wakes.wake_for_log_entries([entry]))
    assert cost == pytest.approx(5 * budgets.REMOTE_WAKE)
    assert len(waiting.told) == 5


def test_who_is_woken_by_a_server_without_a_budget_is_woken_late_and_once(
    make_client: Make, waiting: Waiting, monkeypatch: pytest.MonkeyPatch
):
    """The requests of woken clients aren't refused. Events of other users still wake at once."""
    late: list[str] = []
    monkeypatch.setattr(wakes, "push_late", lambda socket: late.append(socket.connection_id))
    alice = make_client("alice")
    room_id = RoomId(create_room(alice))
    waiting.add(alice)
    entry = remote_event(room_id)
    spend_all(owner := budgets.rings_owner(ServerName("elsewhere.example")))
    budgets._parts[owner] = budgets.QUANTUM - 1.0
    wakes.wake_for_log_entries([entry])
    assert (len(waiting.told), len(late)) == (0, 1)
    assert budgets.affords(budgets.server_owner(ServerName("elsewhere.example")), 2 * budgets.QUANTUM)
    stream = streams.device_stream(UserId(alice.user_id), DeviceId(alice.device_id))
    message = {"stream_id": stream, "seq": 1, "sk": "message#x", "event": json.dumps({"sender": BOB})}
    wakes.wake_for_stream_items([message])
    assert (len(waiting.told), len(late)) == (0, 2)
    wakes.wake_for_stream_items([message | {"event": json.dumps({"sender": alice.user_id})}])
    assert (len(waiting.told), len(late)) == (1, 2)


def test_renaming_a_device_rings_nobody_else(clock: Clock, make_client: Make, waiting: Waiting):
    alice, bob = make_client("alice"), make_client("bob")
    room_id = RoomId(create_room(alice, preset="public_chat"))
    join(bob, room_id)
    waiting.add(bob)
    ok(alice.put(f"{V3}/devices/{alice.device_id}", {"display_name": "Phone"}))
    items = newest(streams.room_stream(room_id))
    assert items[0]["sk"] == f"devices#{alice.user_id}"
    assert charged(alice.user_id, clock, lambda: wakes.wake_for_stream_items(items)) == 0
    assert waiting.told == []


def test_typing_and_receipts_ring_nobody_in_a_large_room(
    clock: Clock, make_client: Make, waiting: Waiting, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(wakes, "EPHEMERAL_ROOM", 1)
    alice, bob = make_client("alice"), make_client("bob")
    room_id = RoomId(create_room(alice, preset="public_chat"))
    join(bob, room_id)
    waiting.add(bob)
    ok(alice.put(path(room_id, "typing", alice.user_id), {"typing": True, "timeout": 30_000}))
    typing = newest(streams.room_stream(room_id))
    event_id = ok(
        alice.put(path(room_id, "send", "m.room.message", "1"), {"msgtype": "m.text", "body": "x"})
    )["event_id"]
    ok(alice.post(path(room_id, "receipt", "m.read", event_id)))
    receipt = newest(streams.room_stream(room_id))
    wakes.wake_for_stream_items([*typing, *receipt])
    assert waiting.told == []
    changed = {"stream_id": receipt[0]["stream_id"], "sk": "devices#x", "seq": 9, "user_id": alice.user_id}
    wakes.wake_for_stream_items([*typing, changed])
    assert len(waiting.told) == 1, "what must be known at once rings in any room"


def test_a_spent_budget_doesnt_reach_others(clock: Clock, make_client: Make):
    alice, bob = make_client("alice"), make_client("bob")
    spend_all(alice.user_id)
    ok(bob.get(f"{V3}/account/whoami"))
