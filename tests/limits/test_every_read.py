"""Every endpoint that reads, for a user with the most data that the bounds allow: each answer can be sent.

The client of these tests fails for an answer that is too large for a function, and for one that is put into
the bucket by a function that isn't granted it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from murmuration.aws import dynamodb
from murmuration.endpoint import Auth, Http, discover
from murmuration.protocol.identifiers import DeviceId, UserId
from murmuration.storage.keys import identity_keys
from tests.in_process import Client, segment
from tests.rooms.people import V3, create_room, invite, join, ok, relate, send, set_state

Make = Callable[..., Client]
LONG = "x" * 58_000
ROOMS = 12
NOT_ASKED = {
    # They ask others, or lead to pages and files whose size the upload limits.
    "client_server/media", "client_server/url_previews", "client_server/login", "client_server/well_known",
}  # fmt: skip


@dataclass
class World:
    """Alice, of whom there is much; a room of hers, with its first message."""

    alice: Client
    room_id: str
    event_id: str

    def parameters(self, version: str) -> dict[str, str]:
        """What stands for each parameter of a path."""
        return {
            "version": version,
            "userId": self.alice.user_id,
            "roomId": self.room_id,
            "roomIdOrAlias": self.room_id,
            "eventId": self.event_id,
            "deviceId": self.alice.device_id,
            "relType": "m.thread",
            "eventType": "m.room.message",
            "type": "x.0",
            "kind": "override",
            "keyName": "x.0",
            "serverName": "example.org",
        }


def fill_room(alice: Client, room_id: str) -> str:
    """Give a room state and messages of many bytes; return its first message."""
    for number in range(30):
        set_state(alice, room_id, "x.bomb", {"text": LONG}, str(number))
    first = send(alice, room_id, LONG)
    for number in range(60):
        relate(alice, room_id, first, "m.thread", body=f"{number} {LONG[:50_000]}")
    for _ in range(40):
        parent = send(alice, room_id, LONG[:30_000])
        new = {"msgtype": "m.text", "body": LONG[:25_000]}
        relate(alice, room_id, parent, "m.replace", **{"m.new_content": new})
    return first


def fill_account(alice: Client) -> None:
    """Give a user account data, push rules, tags, a profile, pushers and devices."""
    own = f"{V3}/user/{segment(alice.user_id)}"
    for number in range(27):
        ok(alice.put(f"{own}/account_data/x.{number}", {"text": "y" * 340_000}))
    for number in range(60):
        rule = {
            "actions": ["notify"],
            "conditions": [{"kind": "event_match", "key": "a", "pattern": "p" * 5_000}],
        }
        ok(alice.put(f"{V3}/pushrules/global/override/r{number}", rule))
    ok(alice.put(f"{V3}/profile/{segment(alice.user_id)}/x.0", {"x.0": "z" * 60_000}))
    for number in range(20):
        pusher = {
            "app_id": "app", "pushkey": f"{number}" * 250, "kind": "http", "app_display_name": "a" * 200,
            "device_display_name": "d" * 200, "lang": "en",
            "data": {"url": "https://push.example.com/_matrix/push/v1/notify", "more": "m" * 1_900},
        }  # fmt: skip
        ok(alice.post(f"{V3}/pushers/set", pusher | {"append": True}))
    for number in range(199):
        device = DeviceId(f"D{number}")
        key = {"user_id": alice.user_id, "device_id": device, "algorithms": [], "keys": {}}
        item = {
            "user_id": alice.user_id,
            "sk": f"device#{device}",
            "access_hash": "x",
            "display_name": "n" * 100,
        }
        dynamodb.execute(dynamodb.put("users", item))
        key |= {"signatures": {}, "padding": "x" * 3_900}
        identity_keys.write_device(UserId(alice.user_id), device, key)


def fill_from_others(alice: Client, bob: Client, room_id: str) -> None:
    """Send a user invites, messages to their device, and messages that notify."""
    for number in range(ROOMS):
        invite(bob, create_room(bob, name=LONG, topic=f"{number}"), alice)
    for number in range(100):
        body = {"messages": {alice.user_id: {alice.device_id: {"text": LONG}}}}
        ok(bob.put(f"{V3}/sendToDevice/x.y/t{number}", body))
    join(bob, room_id)
    for number in range(40):
        send(bob, room_id, f"{alice.user_id} {number} {LONG}")


def make_world(make_client: Make) -> World:
    alice, bob = make_client("alice"), make_client("bob")
    room_id = create_room(alice, preset="public_chat", visibility="public", name=LONG)
    set_state(alice, room_id, "m.room.history_visibility", {"history_visibility": "world_readable"})
    for number in range(ROOMS):
        child = create_room(
            alice, preset="public_chat", visibility="public", name=LONG, topic=f"{number}{LONG[:20_000]}"
        )
        set_state(alice, room_id, "m.space.child", {"via": ["example.org"]}, child)
        send(alice, child, LONG)
    event_id = fill_room(alice, room_id)
    fill_account(alice)
    fill_from_others(alice, bob, room_id)
    return World(alice, room_id, event_id)


def reads(world: World) -> Iterator[tuple[str, str]]:
    """Each path that is read by GET, its parameters filled in, with its function's group."""
    for function in discover():
        route = function.route
        if not isinstance(route, Http) or route.method != "GET" or route.auth is Auth.SERVER:
            continue
        group = function.group.replace(".", "/")
        parameters = world.parameters(route.versions[-1] if route.versions else "")
        filled = route.path
        for name, value in parameters.items():
            filled = filled.replace(f"{{{name}}}", segment(value))
        if "{" not in filled and group not in NOT_ASKED:
            yield group, filled


def searches(world: World) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is read by POST."""
    wide = {"ranges": [[0, 99]], "timeline_limit": 100, "required_state": [["*", "*"]]}
    extensions = {
        name: {"enabled": True} for name in ("to_device", "e2ee", "account_data", "receipts", "typing")
    }
    everything = {"search_term": "x", "filter": {"limit": 100}, "order_by": "recent"}
    context = {"before_limit": 20, "after_limit": 20, "include_profile": True}
    yield f"{V3}/keys/query", {"device_keys": {world.alice.user_id: []}}
    yield f"{V3}/publicRooms", {"limit": 500}
    yield f"{V3}/user_directory/search", {"search_term": "a", "limit": 100}
    yield "/_matrix/client/v4/sync", {"lists": {"all": wide}, "extensions": extensions}
    room_events = everything | {"include_state": True, "event_context": context}
    yield f"{V3}/search", {"search_categories": {"room_events": room_events}}


@pytest.mark.long
def test_every_answer_can_be_sent(make_client: Make) -> None:
    world = make_world(make_client)
    alice, answered = world.alice, set[str]()
    query = {"dir": "b", "limit": 1000, "timeout": 0, "max_depth": 10}
    whole = json.dumps({"room": {"timeline": {"limit": 100}, "include_leave": True}})
    for group, read in reads(world):
        more = {"filter": whole} if read.endswith("/sync") else {"user_id": world.alice.user_id}
        if read.endswith(("/messages", "/events")) or "/context/" in read:
            more = {}
        answer = alice.get(read, **query, **more)
        assert answer.status < 500, (read, answer.body[:200])
        if answer.status == 200:
            answered.add(group)
    for read, body in searches(world):
        ok(alice.post(read, body))
    assert {
        "client_server/account_data", "client_server/devices", "client_server/directory",
        "client_server/old_sync", "client_server/profile", "client_server/push",
        "client_server/push_rules", "client_server/relations", "client_server/room_membership",
        "client_server/room_messages", "client_server/room_state", "client_server/spaces",
        "client_server/sync", "client_server/tags", "client_v1/old_sync", "client_v1/room_state",
        "client_v2/sync", "client_v2/directory",
    } <= answered  # fmt: skip
