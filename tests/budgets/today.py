"""Budgets of what today's apps ask for besides rooms and sync: push, search, directories, delayed events."""

from __future__ import annotations

import itertools
from unittest import mock

from murmuration import outbound
from murmuration.aws import dynamodb, queues
from murmuration.delivery import wakes
from murmuration.protocol.identifiers import RoomId
from murmuration.push import evaluation, gateways
from murmuration.rooms.delayed import delivery
from murmuration.storage.rooms import event_places
from tests.budgets.meter import Meter, Spent
from tests.budgets.operations import (
    MESSAGE,
    V3,
    Budget,
    MakeClient,
    counted,
    create,
    forget,
    ok,
    people,
    send_path,
)
from tests.in_process import Client, segment

V1, UNSTABLE = "/_matrix/client/v1", "/_matrix/client/unstable"
_numbers = itertools.count(1)
DELAY = {"org.matrix.msc4140.delay": 60_000}
LEAVE = {"reason": "m.lost_connection"}
PUSHER = {
    "app_id": "org.example.app",
    "kind": "http",
    "app_display_name": "App",
    "device_display_name": "Phone",
    "lang": "en",
    "data": {"url": "https://push.example.com/_matrix/push/v1/notify"},
}


def pusher() -> dict[str, object]:
    """Return a pusher that no other has the key of."""
    return {**PUSHER, "pushkey": f"key {next(_numbers)}"}


# -- Push ------------------------------------------------------------------------------------------------


def set_pusher(make_client: MakeClient) -> Spent:
    (alice,) = people(make_client, "alice")
    return counted(alice, "POST", f"{V3}/pushers/set", pusher())


def get_pushers(make_client: MakeClient) -> Spent:
    (alice,) = people(make_client, "alice")
    ok(alice, "POST", f"{V3}/pushers/set", pusher())
    return counted(alice, "GET", f"{V3}/pushers")


def list_notifications(make_client: MakeClient) -> Spent:
    alice, bob, room = pair(make_client)
    for _ in range(25):
        ok(bob, "PUT", send_path(room), MESSAGE)
    forget()
    return counted(alice, "GET", f"{V3}/notifications", limit=20)


def evaluate_rules(make_client: MakeClient) -> Spent:
    """Measure what push adds to the Streams worker's costs of a message if one member has a pusher."""
    alice, bob, room = pair(make_client)
    ok(alice, "POST", f"{V3}/pushers/set", pusher())
    items = newest(bob, RoomId(room))
    concerned = wakes.wake_for_log_entries(items)
    with Meter() as meter, mock.patch.object(queues, "send_each") as send:
        evaluation.order_pushes(items, concerned)
    assert [len(call.args[1]) for call in send.call_args_list] == [1]
    return meter.spent


def call_gateway(make_client: MakeClient) -> Spent:
    """Measure the worker's costs of a call to a gateway that answers."""
    alice, bob, room = pair(make_client)
    ok(alice, "POST", f"{V3}/pushers/set", pusher())
    items = newest(bob, RoomId(room))
    concerned = wakes.wake_for_log_entries(items)
    with mock.patch.object(queues, "send_each") as send:
        evaluation.order_pushes(items, concerned)
    (message,) = send.call_args.args[1]
    answer = mock.Mock(status=200, json_object=dict)
    with Meter() as meter, mock.patch.object(outbound, "post_json", return_value=answer) as posted:
        gateways.deliver(message)
    assert posted.call_count == 1
    return meter.spent


def pair(make_client: MakeClient) -> tuple[Client, Client, str]:
    """Return Alice, Bob and the ID of their room, escaped for a path."""
    alice, bob = people(make_client, "alice", "bob")
    room = create(bob, preset="public_chat", name="Budgets")
    ok(alice, "POST", f"{V3}/rooms/{room}/join", {})
    return alice, bob, room


def newest(sender: Client, room: RoomId) -> list[dict[str, object]]:
    """Send a message, and return its stream record."""
    event_id = ok(sender, "PUT", send_path(room), MESSAGE)["event_id"]
    place = event_places.locate([event_id], room)[event_id]
    item = dynamodb.get("room-log", {"room_id": place["room_id"], "ordinal": place["ordinal"]})
    assert item is not None
    return [item]


# -- Finding ---------------------------------------------------------------------------------------------


def search_messages(make_client: MakeClient) -> Spent:
    """Measure a search in one room of 25 messages, all of which fit into the answer."""
    (alice,) = people(make_client, "alice")
    room = create(alice)
    for _ in range(25):
        ok(alice, "PUT", send_path(room), {"msgtype": "m.text", "body": "tea"})
    forget()
    body = {"search_categories": {"room_events": {"search_term": "tea", "order_by": "recent"}}}
    return counted(alice, "POST", f"{V3}/search", body)


def search_users(make_client: MakeClient) -> Spent:
    """Measure a search for one of twenty users whose names share a word."""
    word = f"budgeteer{next(_numbers)}x"
    some = people(make_client, *(f"teadrinker{number}" for number in range(20)))
    for client in some:
        name = f"{V3}/profile/{segment(client.user_id)}/displayname"
        ok(client, "PUT", name, {"displayname": f"{word} of tea"})
    return counted(some[0], "POST", f"{V3}/user_directory/search", {"search_term": word, "limit": 10})


def list_mutual_rooms(make_client: MakeClient) -> Spent:
    alice, bob = people(make_client, "alice", "bob")
    for number in range(20):
        room = create(alice, preset="public_chat", name=f"Room {number}")
        ok(bob, "POST", f"{V3}/rooms/{room}/join", {})
    forget()
    return counted(alice, "GET", f"{V1}/mutual_rooms", user_id=bob.user_id)


# -- Delayed events --------------------------------------------------------------------------------------


def schedule(make_client: MakeClient) -> Spent:
    alice, room = in_a_room(make_client)
    return counted(alice, "PUT", send_path(room), LEAVE, **DELAY)


def restart(make_client: MakeClient) -> Spent:
    alice, room = in_a_room(make_client)
    delay_id = ok(alice, "PUT", send_path(room), LEAVE, **DELAY)["delay_id"]
    return counted(alice, "POST", f"{UNSTABLE}/org.matrix.msc4140/delayed_events/{delay_id}/restart")


def list_delayed(make_client: MakeClient) -> Spent:
    alice, room = in_a_room(make_client)
    for _ in range(10):
        ok(alice, "PUT", send_path(room), LEAVE, **DELAY)
    return counted(alice, "GET", f"{V1}/delayed_events")


def send_delayed(make_client: MakeClient) -> Spent:
    """Measure the worker's costs when a delayed event is due."""
    alice, room = in_a_room(make_client)
    delay_id = ok(alice, "PUT", send_path(room), LEAVE, **{"org.matrix.msc4140.delay": 1})["delay_id"]
    message = {"delay_id": delay_id, "user_id": alice.user_id, "device_id": alice.device_id}
    with Meter() as meter:
        delivery.deliver(message)
    return meter.spent


def in_a_room(make_client: MakeClient) -> tuple[Client, str]:
    (alice,) = people(make_client, "alice")
    room = create(alice, name="Budgets")
    ok(alice, "PUT", send_path(room), MESSAGE)
    return alice, room


TODAY = (
    Budget("POST pushers/set", 5, 4, 9, set_pusher),
    Budget("GET pushers", 2, 2, 0, get_pushers),
    Budget("GET notifications, 20 in one room", 10, 40, 2, list_notifications),
    Budget("push rules for a message and a member with a pusher", 2, 10, 0, evaluate_rules),
    Budget("a push, told to one gateway", 10, 13, 2, call_gateway),
    Budget("search, 10 of 25 messages of a room", 8, 40, 2, search_messages),
    Budget("user directory, 20 fitting users", 5, 30, 1, search_users),
    Budget("mutual rooms, 20", 3, 10, 0, list_mutual_rooms),
    Budget("PUT send with a delay", 4, 4, 14, schedule),
    Budget("restart of a delayed event", 4, 2, 4, restart),
    Budget("GET delayed_events, 10", 2, 3, 0, list_delayed),
    Budget("sending a delayed event, warm", 4, 10, 20, send_delayed),
)
"""Beside those of `operations`."""
