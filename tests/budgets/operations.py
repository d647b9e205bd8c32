"""The operations that have a budget, each on a stage of its own: what it may cost, how to carry it out."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock
from urllib.parse import unquote

from local_cloud.permissions import acting_for
from murmuration.aws import dynamodb, queues
from murmuration.aws import sockets as aws_sockets
from murmuration.cache import LruCache
from murmuration.delivery import sockets, wakes
from murmuration.identity.tokens import AccessToken
from murmuration.presence import telling
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.settings import settings
from murmuration.sliding_sync import marks as sliding_marks
from murmuration.storage.live import sync_tokens
from murmuration.storage.live.token_forms import CALLED
from murmuration.storage.rooms import room_items
from murmuration.storage.users import presence
from murmuration.sync import marks, narrow_look, waiting
from tests.budgets.meter import Meter, Spent
from tests.in_process import Client, segment
from tests.sliding_sync.client import ROOM_LIST, all_rooms

V2, V3 = "/_matrix/client/v2", "/_matrix/client/v3"
ROOMS, PRESENCE_ROOMS, WAKE_ROOMS, SLIDING_ROOMS = 50, 10, 20, 20
MESSAGE = {"msgtype": "m.text", "body": "x" * 1000}
_transactions = itertools.count(1)

MakeClient = Callable[..., Client]


@dataclass(frozen=True)
class Budget:
    """An operation and its bounds: serial round trips, read and write capacity units.

    `measure` gets a function that makes clients. It sets the stage, carries the operation out, and returns
    its costs.
    """

    name: str
    round_trips: int
    read_units: float
    write_units: float
    measure: Callable[[MakeClient], Spent]

    def excess(self, spent: Spent) -> list[str]:
        """Return a sentence for each bound that is exceeded."""
        bounds = {
            "round trips": (spent.round_trips, self.round_trips),
            "read units": (spent.read_units, self.read_units),
            "write units": (spent.write_units, self.write_units),
        }
        return [
            f"{name}: {counted:g}, not {bound}"
            for name, (counted, bound) in bounds.items()
            if counted > bound
        ]


def counted(client: Client, method: str, path: str, body: Any = None, **query: Any) -> Spent:
    """Return the costs of one request."""
    with Meter() as meter:
        answer = client.request(method, path, body, **query)
    assert answer.status == 200, answer.body
    return meter.spent


def forget() -> None:
    """Empty the process's caches of rooms, filters and the like, as in a new process."""
    for found in gc.get_objects():
        if type(found) is LruCache:  # isinstance would ask what dead references stand for
            found.clear()


def ok(client: Client, method: str, path: str, body: Any = None, **query: Any) -> Any:
    answer = client.request(method, path, body, **query)
    assert answer.status == 200, answer.body
    return answer.json


def people(make_client: MakeClient, *names: str) -> list[Client]:
    """Return clients that were seen a moment ago, since a device's last use is written only every ten
    minutes.
    """
    clients = [make_client(name) for name in names]
    for client in clients:
        ok(client, "GET", f"{V3}/account/whoami")
    return clients


def create(client: Client, **body: Any) -> str:
    """Create a room, and return its ID as a path has it."""
    return segment(ok(client, "POST", f"{V3}/createRoom", body)["room_id"])


def send_path(room: str) -> str:
    return f"{V3}/rooms/{room}/send/m.room.message/{next(_transactions)}"


def send(make_client: MakeClient) -> Spent:
    alice, bob = people(make_client, "alice", "bob")
    room = create(alice, preset="public_chat", name="Budgets")
    ok(bob, "POST", f"{V3}/rooms/{room}/join", {})
    ok(alice, "PUT", send_path(room), MESSAGE)
    return counted(alice, "PUT", send_path(room), MESSAGE)


def send_cold(make_client: MakeClient) -> Spent:
    alice, bob = people(make_client, "alice", "bob")
    room = create(alice, preset="public_chat", name="Budgets")
    ok(bob, "POST", f"{V3}/rooms/{room}/join", {})
    forget()
    return counted(alice, "PUT", send_path(room), MESSAGE)


def sync_nothing_new(make_client: MakeClient) -> Spent:
    """Measure a sync of a client whose last answer is a while ago, without news."""
    with mock.patch.object(sync_tokens, "FRESH_S", -1):
        return sync_just_answered(make_client)


def sync_just_answered(make_client: MakeClient) -> Spent:
    (alice,) = people(make_client, "alice")
    for number in range(ROOMS):
        create(alice, name=f"Room {number}")
    since = ok(alice, "GET", f"{V3}/sync")["next_batch"]
    forget()
    return counted(alice, "GET", f"{V3}/sync", since=since, timeout=30_000)


def sync_initially(make_client: MakeClient) -> Spent:
    (alice,) = people(make_client, "alice")
    for number in range(ROOMS):
        create(alice, name=f"Room {number}")
    forget()
    return counted(alice, "GET", f"{V3}/sync")


def sync_one_room_moved(make_client: MakeClient) -> Spent:
    """Measure a sync of a client whose last answer is a while ago and that didn't wait when a message
    came.
    """
    alice, since = one_room_moved(make_client)
    with mock.patch.object(sync_tokens, "FRESH_S", -1):
        return counted(alice, "GET", f"{V3}/sync", since=since, timeout=30_000)


def sync_when_called(make_client: MakeClient) -> Spent:
    """Measure the sync of a client that waited without a function and was called."""
    alice, since = one_room_moved(make_client)
    return counted(alice, "GET", f"{V3}/sync", since=f"{CALLED}{since.removeprefix('s_')}", timeout=30_000)


def one_room_moved(make_client: MakeClient) -> tuple[Client, str]:
    """Return a client in fifty rooms, and its sync token from before a message in one of them."""
    alice, bob = people(make_client, "alice", "bob")
    rooms = [create(alice, preset="public_chat", name=f"Room {number}") for number in range(ROOMS)]
    ok(bob, "POST", f"{V3}/rooms/{rooms[0]}/join", {})
    since = ok(alice, "GET", f"{V3}/sync")["next_batch"]
    ok(bob, "PUT", send_path(rooms[0]), MESSAGE)
    forget()
    return alice, since


def wake(make_client: MakeClient) -> Spent:
    """Measure the whole costs of a message for a parked client: one request, which returns news and a
    mark.
    """
    alice, since = rung(make_client)
    forget()
    return of_wake(alice, since)


def wake_warm(make_client: MakeClient) -> Spent:
    """Measure the same in a process that has the room's state in memory."""
    alice, since = rung(make_client)
    return of_wake(alice, since)


def wake_for_everything(make_client: MakeClient) -> Spent:
    """Measure the same if the ring was for more than a room's news, so that the client has to look at
    everything.
    """
    alice, since = rung(make_client, more=True)
    forget()
    return of_wake(alice, since)


def wake_now_and_then(make_client: MakeClient) -> Spent:
    """Measure the same if it is time to look at changes that don't ring."""
    alice, since = rung(make_client)
    forget()
    with mock.patch.object(narrow_look, "EVERYTHING_S", 0):
        return of_wake(alice, since)


def rung(make_client: MakeClient, *, more: bool = False) -> tuple[Client, str]:
    """Return a client in many rooms that was parked and called, and its call."""
    alice, bob = people(make_client, "alice", "bob")
    rooms = [create(alice, preset="public_chat", name=f"Room {number}") for number in range(WAKE_ROOMS)]
    ok(bob, "POST", f"{V3}/rooms/{rooms[0]}/join", {})
    since = ok(alice, "GET", f"{V3}/sync")["next_batch"]
    for _ in range(2):  # as one who has waited before
        parked = ok(alice, "GET", f"{V3}/sync", since=since, timeout=30_000)["next_batch"]
        ok(bob, "PUT", send_path(rooms[0]), MESSAGE)
        with acting_for(None):
            wakes.wake_for_log_entries(newest_entries(RoomId(unquote(rooms[0]))))
            if more:
                wakes.wake({(UserId(alice.user_id), wakes.EVERY_DEVICE): None})
        since = marks.called(parked)
    return alice, since


def newest_entries(room_id: RoomId) -> list[Any]:
    """Return the stream records that the Streams worker gets for a room's newest event."""
    head = room_items.read_head(room_id)
    assert head is not None
    return [dynamodb.get("room-log", {"room_id": room_id, "ordinal": head.ordinal})]


def of_wake(client: Client, since: str) -> Spent:
    """Return the costs of the request of a client that was called."""
    with Meter() as meter:
        answer = client.request("GET", f"{V3}/sync", since=since, timeout=30_000)
    assert answer.json["rooms"]["join"], "there is news"
    assert answer.json["next_batch"].startswith("p_"), "it waits again without another request of a function"
    return meter.spent


@contextlib.contextmanager
def _held() -> Iterator[None]:
    """Have functions hold those who wait."""
    with mock.patch.dict(os.environ, MURMURATION_WAITING="held"):
        settings.cache_clear()
        yield
    settings.cache_clear()


def held_wake(make_client: MakeClient) -> Spent:
    """Measure the whole costs of a message for a client that a function holds: from its request to the
    news.
    """
    alice, bob = people(make_client, "alice", "bob")
    rooms = [create(alice, preset="public_chat", name=f"Room {number}") for number in range(WAKE_ROOMS)]
    ok(bob, "POST", f"{V3}/rooms/{rooms[0]}/join", {})
    since = ok(alice, "GET", f"{V3}/sync")["next_batch"]
    hold, told_s = waiting.hold, [0.0, 0.0]

    def tell_while_held(*arguments: Any) -> waiting.Held:
        told_s[0] = time.monotonic()
        with acting_for(None):
            ok(bob, "PUT", send_path(rooms[0]), MESSAGE)
            wakes.wake_for_log_entries(newest_entries(RoomId(unquote(rooms[0]))))
        told_s[1] = time.monotonic()
        return hold(*arguments)

    with _held(), mock.patch.object(waiting, "hold", tell_while_held):
        for _ in range(2):  # as one who has waited before
            since = ok(alice, "GET", f"{V3}/sync", since=since, timeout=30_000)["next_batch"]
        with Meter() as meter:
            answer = ok(alice, "GET", f"{V3}/sync", since=since, timeout=30_000)
    assert answer["rooms"]["join"], "there is news"
    return meter.spent.outside(*told_s)


def push_to_socket(make_client: MakeClient) -> Spent:
    """Measure the worker's costs of a message for a client that is connected by WebSocket."""
    alice, bob = people(make_client, "alice", "bob")
    rooms = [create(alice, preset="public_chat", name=f"Room {number}") for number in range(WAKE_ROOMS)]
    ok(bob, "POST", f"{V3}/rooms/{rooms[0]}/join", {})
    with mock.patch.multiple(aws_sockets, post=mock.DEFAULT) as patched, mock.patch.object(queues, "send"):
        token = AccessToken.parse(alice.token or "")
        sockets.connect(token, f"one-{alice.user_id}", since=None, filter_text=None)
        sockets.push(f"one-{alice.user_id}")
        ok(bob, "PUT", send_path(rooms[0]), MESSAGE)
        with Meter() as meter:
            sockets.push(f"one-{alice.user_id}", [RoomId(unquote(rooms[0]))])
    assert patched["post"].call_count == 2
    return meter.spent


SLIDING = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
WINDOW = {
    "conn_id": "room-list",
    "lists": {"all_rooms": all_rooms()},
    "extensions": ROOM_LIST,
}
"""What Element X asks for of its list of rooms."""
TO_DEVICE = {
    "conn_id": "encryption",
    "extensions": {"to_device": {"enabled": True}, "e2ee": {"enabled": True}},
}


def sliding_nothing_new(make_client: MakeClient) -> Spent:
    (alice,) = people(make_client, "alice")
    for number in range(SLIDING_ROOMS):
        create(alice, name=f"Room {number}")
    pos = ok(alice, "POST", SLIDING, WINDOW)["pos"]
    forget()
    return counted(alice, "POST", SLIDING, WINDOW, pos=pos)


def sliding_nothing_new_of_keys(make_client: MakeClient) -> Spent:
    (alice,) = people(make_client, "alice")
    for number in range(SLIDING_ROOMS):
        create(alice, name=f"Room {number}")
    pos = ok(alice, "POST", SLIDING, TO_DEVICE)["pos"]
    forget()
    return counted(alice, "POST", SLIDING, TO_DEVICE, pos=pos)


def sliding_one_room_moved(make_client: MakeClient) -> Spent:
    alice, bob = people(make_client, "alice", "bob")
    rooms = [create(alice, preset="public_chat", name=f"Room {number}") for number in range(SLIDING_ROOMS)]
    ok(bob, "POST", f"{V3}/rooms/{rooms[0]}/join", {})
    pos = ok(alice, "POST", SLIDING, WINDOW)["pos"]
    ok(bob, "PUT", send_path(rooms[0]), MESSAGE)
    forget()
    return counted(alice, "POST", SLIDING, WINDOW, pos=pos)


def sliding_wake(make_client: MakeClient) -> Spent:
    """Measure the whole costs of a message for a parked app's list of rooms: one request, which returns news
    and a mark.
    """
    alice, bob = people(make_client, "alice", "bob")
    rooms = [create(alice, preset="public_chat", name=f"Room {number}") for number in range(SLIDING_ROOMS)]
    ok(bob, "POST", f"{V3}/rooms/{rooms[0]}/join", {})
    pos = ok(alice, "POST", SLIDING, WINDOW)["pos"]
    for _ in range(2):  # as one who has waited before
        parked = ok(alice, "POST", SLIDING, WINDOW, pos=pos, timeout=30_000)["pos"]
        ok(bob, "PUT", send_path(rooms[0]), MESSAGE)
        pos = sliding_marks.called(parked)
    return _waits_again(alice, WINDOW, pos, has_rooms=True)


def sliding_wake_for_nothing(make_client: MakeClient) -> Spent:
    """Measure the costs of the same message for the app's connection for encryption."""
    alice, bob = people(make_client, "alice", "bob")
    rooms = [create(alice, preset="public_chat", name=f"Room {number}") for number in range(SLIDING_ROOMS)]
    ok(bob, "POST", f"{V3}/rooms/{rooms[0]}/join", {})
    found = ok(alice, "POST", SLIDING, TO_DEVICE)
    extensions: Any = TO_DEVICE["extensions"]
    since = found["extensions"]["to_device"]["next_batch"]
    body = {**TO_DEVICE, "extensions": {**extensions, "to_device": {"enabled": True, "since": since}}}
    parked = ok(alice, "POST", SLIDING, body, pos=found["pos"], timeout=30_000)["pos"]
    ok(bob, "PUT", send_path(rooms[0]), MESSAGE)
    return _waits_again(alice, body, sliding_marks.called(parked), has_rooms=False)


def _waits_again(client: Client, body: Any, pos: str, *, has_rooms: bool) -> Spent:
    forget()
    with Meter() as meter:
        answer = client.request("POST", SLIDING, body, pos=pos, timeout=30_000)
    assert bool(answer.json["rooms"]) is has_rooms
    assert answer.json["pos"].startswith("lp_"), "it waits again without another request of a function"
    return meter.spent


def sliding_renewal(make_client: MakeClient) -> Spent:
    """Measure the costs of parking again after a mark has ended."""
    (alice,) = people(make_client, "alice")
    for number in range(SLIDING_ROOMS):
        create(alice, name=f"Room {number}")
    pos = ok(alice, "POST", SLIDING, WINDOW)["pos"]
    ok(alice, "POST", SLIDING, WINDOW, pos=pos, timeout=30_000)
    return _waits_again(alice, WINDOW, pos, has_rooms=False)


def sliding_initially(make_client: MakeClient) -> Spent:
    (alice,) = people(make_client, "alice")
    for number in range(SLIDING_ROOMS):
        create(alice, name=f"Room {number}")
    forget()
    return counted(alice, "POST", SLIDING, WINDOW)


def create_private_room(make_client: MakeClient) -> Spent:
    (alice,) = people(make_client, "alice")
    forget()
    return counted(alice, "POST", f"{V3}/createRoom", {"preset": "private_chat", "name": "Budgets"})


def join_public_room(make_client: MakeClient) -> Spent:
    alice, bob = people(make_client, "alice", "bob")
    room = create(alice, preset="public_chat", name="Budgets", topic="What things cost")
    forget()
    return counted(bob, "POST", f"{V3}/join/{room}", {})


def read_messages(make_client: MakeClient) -> Spent:
    (alice,) = people(make_client, "alice")
    room = create(alice)
    for _ in range(25):
        ok(alice, "PUT", send_path(room), MESSAGE)
    forget()
    return counted(alice, "GET", f"{V3}/rooms/{room}/messages", dir="b", limit=20)


def send_batch(make_client: MakeClient) -> Spent:
    (alice,) = people(make_client, "alice")
    room = create(alice)
    ok(alice, "PUT", send_path(room), MESSAGE)
    events = [
        {"type": "m.room.message", "content": MESSAGE, "action_id": f"a{number}"} for number in range(10)
    ]
    return counted(alice, "POST", f"{V2}/rooms/{room}/send", {"events": events})


def paginate(make_client: MakeClient) -> Spent:
    (alice,) = people(make_client, "alice")
    room = create(alice)
    for _ in range(25):
        ok(alice, "PUT", send_path(room), MESSAGE)
    forget()
    return counted(alice, "GET", f"{V2}/rooms/{room}/paginate", max=20)


def come_online(make_client: MakeClient) -> Spent:
    (alice,) = people(make_client, "alice")
    forget()
    return counted(alice, "PUT", f"{V3}/presence/{segment(alice.user_id)}/status", {"presence": "online"})


def tell_of_presence(make_client: MakeClient) -> Spent:
    """Measure the Streams worker when a user comes online who shares ten rooms with waiting users."""
    alice, bob = people(make_client, "alice", "bob")
    for number in range(PRESENCE_ROOMS):
        room = create(alice, preset="public_chat", name=f"Room {number}")
        ok(bob, "POST", f"{V3}/rooms/{room}/join", {})
    for each in (bob, alice):
        ok(each, "PUT", f"{V3}/presence/{segment(each.user_id)}/status", {"presence": "online"})
    item = presence.read(UserId(alice.user_id))
    assert item is not None
    forget()
    with Meter() as meter:
        telling.tell([item])
    return meter.spent


BUDGETS = (
    Budget("PUT send, 1 KB message, warm", 2, 8, 12, send),
    Budget("PUT send, 1 KB message, cold", 3, 16, 12, send_cold),
    Budget("/sync, nothing new, 50 rooms, until it starts to wait", 4, 100, 1, sync_nothing_new),
    Budget("/sync, the same for one who was just answered", 4, 75, 1, sync_just_answered),
    Budget("/sync, one of 50 rooms moved, 1 message", 4, 60, 3, sync_one_room_moved),
    Budget("/sync, the same for one who was waiting", 4, 60, 3, sync_when_called),
    Budget("a wake of one who is parked, one of 20 rooms moved, until it waits again", 3, 9, 1, wake),
    Budget("the same, warm", 3, 5, 1, wake_warm),
    Budget("a wake of one who is held, one of 20 rooms moved, from request to answer", 4, 8, 1, held_wake),
    Budget("a push to a WebSocket, one of 20 rooms moved", 7, 6, 3, push_to_socket),
    Budget("a wake after ten minutes of them, 20 rooms", 4, 26, 1, wake_now_and_then),
    Budget("a wake for more than a room's news, 20 rooms", 5, 36, 2, wake_for_everything),
    Budget("/sync for the first time, 50 rooms", 16, 600, 3, sync_initially),
    Budget("sliding sync, nothing new, 20 rooms", 2, 35, 0, sliding_nothing_new),
    Budget(
        "sliding sync of keys and messages, nothing new, 20 rooms", 2, 100, 1, sliding_nothing_new_of_keys
    ),
    Budget("sliding sync, one of 20 rooms moved, 1 message", 5, 45, 3, sliding_one_room_moved),
    Budget(
        "a wake of an app that is parked, one of 20 rooms moved, until it waits again", 4, 45, 5, sliding_wake
    ),
    Budget("the same message's wake of its encryption", 3, 45, 2, sliding_wake_for_nothing),
    Budget("an app that is parked anew, 20 rooms", 4, 70, 2, sliding_renewal),
    Budget("sliding sync for the first time, 20 rooms", 16, 160, 3, sliding_initially),
    Budget("createRoom, private, no invitees", 4, 8, 100, create_private_room),
    Budget("join of a public local room", 4, 20, 30, join_public_room),
    Budget("GET messages, 20 events", 3, 20, 0, read_messages),
    Budget("PUT presence status", 4, 6, 2, come_online),
    Budget("telling of somebody who came, 10 rooms", 6, 30, 16, tell_of_presence),
    Budget("version 2: batch of 10 messages with action IDs, warm", 2, 8, 100, send_batch),
    Budget("version 2: GET paginate, 20 events", 3, 20, 0, paginate),
)
"""All but those called warm are carried out by a process that remembers nothing of the room."""
