"""The four worked examples of the version 2 draft, step by step, through HTTP.

Each step stands above its lines, in the draft's words.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import pytest

from local_cloud.testing import LocalCloud
from tests.e2e.conftest import _needs_dynoxide, shared_cloud
from tests.e2e.raw import PASSWORD, V3, Raw, register, segment
from tests.local_cloud.waiting import PATIENCE_S

__all__ = ["_needs_dynoxide", "shared_cloud"]
V2 = "/_matrix/client/v2"
MESSAGES = 35
"""How many messages the lounge has to begin with: more than a page of 30."""


class Device:
    """A client that logs in on a device of its own."""

    def __init__(self, person: Raw, pool: ThreadPoolExecutor) -> None:
        body = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": person.user_id},
            "password": PASSWORD,
        }
        found = Raw(person.cloud).json("POST", f"{V3}/login", body)
        self.raw = Raw(person.cloud, found["access_token"], found["user_id"], found["device_id"])
        self.pool = pool

    def get(self, path: str, **query: Any) -> Any:
        return self.raw.json("GET", f"{V2}{path}?{urlencode(query)}")

    def post_streaming(self, **config: Any) -> str:
        return str(self.raw.json("POST", f"{V2}/streaming", config)["streaming"])

    def post_filter(self, *types: str) -> str:
        return str(self.raw.json("POST", f"{V2}/filter", {"types": types})["filter"])

    def blocks(self, **query: Any) -> Future[Any]:
        """GET /eventStream, which blocks."""
        blocked = self.raw.again()

        def wait() -> Any:
            try:
                return blocked.json("GET", f"{V2}/eventStream?{urlencode(query)}")
            finally:
                blocked.close()

        return self.pool.submit(wait)


class World:
    """Alice, whose clients the examples are about; Bob, and the rooms in which both are."""

    def __init__(self, cloud: LocalCloud, name: str, pool: ThreadPoolExecutor) -> None:
        self.alice, self.bob = register(cloud, f"{name}-alice"), register(cloud, f"{name}-bob")
        self.pool = pool
        self.lounge = self.bob.create_room(preset="public_chat", name="Lounge", topic="Tea")
        self.kitchen = self.bob.create_room(preset="public_chat")
        for room_id in (self.lounge, self.kitchen):
            self.alice.join(room_id)
        self.sent = [self.bob.send(self.lounge, str(number)) for number in range(MESSAGES)]
        self.set("org.example.custom", {})
        self.bob.json("PUT", f"{V3}/presence/{segment(self.bob.user_id)}/status", {"presence": "online"})

    def set(self, event_type: str, content: Any, room_id: str = "") -> str:
        uri = f"{V3}/rooms/{segment(room_id or self.lounge)}/state/{event_type}/"
        return str(self.bob.json("PUT", uri, content)["event_id"])

    def login(self) -> Device:
        return Device(self.alice, self.pool)

    def close(self) -> None:
        self.alice.close()
        self.bob.close()


@pytest.fixture
def world(shared_cloud: LocalCloud, request: pytest.FixtureRequest) -> Iterator[World]:
    with ThreadPoolExecutor(2) as pool:
        found = World(shared_cloud, request.node.name.removeprefix("test_").replace("_", "-"), pool)
        yield found
        found.close()


def rooms_of(answer: Any) -> dict[str, Any]:
    return {room["room_id"]: room for room in answer["rooms"]}


def types(events: list[Any]) -> set[str]:
    return {event["type"] for event in events}


def ids(events: list[Any]) -> list[str]:
    return [event["event_id"] for event in events]


def present(answer: Any) -> set[str]:
    return {event["sender"] for event in answer.get("presence", ())}


def until_room_events(device: Device, streaming: str, **query: Any) -> Any:
    """Go on with the stream until it has an event of a room: presence may come before."""
    while True:
        answer = device.blocks(streaming=streaming, **query).result(PATIENCE_S)
        if answer["events"]:
            return answer
        streaming = answer["streaming"]


def test_1_syweb_recreation(world: World) -> None:
    # Login. POST streaming token (users["*"], rooms["*"]). Store token.
    device = world.login()
    token = device.post_streaming(users=["*"], rooms=["*"])
    # GET /initialSync max=30 with token.
    answer = device.get("/initialSync", max=30, streaming=token)
    # Returns all rooms (because rooms["*"])
    rooms = rooms_of(answer)
    assert set(rooms) == {world.lounge, world.kitchen}
    # and all state,
    lounge = rooms[world.lounge]
    state = world.alice.json("GET", f"{V3}/rooms/{segment(world.lounge)}/state")
    assert sorted(ids(lounge["state"])) == sorted(ids(state))
    # and all presence (because users["*"]),
    assert world.bob.user_id in present(answer)
    # and 30 messages. All event types returned since I didn't supply any event filter tokens. [...] it
    # returns the most recent 30 messages f.e room.
    assert len(lounge["messages"]) == 30
    assert lounge["messages"][-1]["type"] == "org.example.custom"
    assert ids(lounge["messages"])[:-1] == world.sent[-29:]
    # This is semantically the same as v1's /initialSync.
    v1 = world.alice.json("GET", "/_matrix/client/api/v1/initialSync?limit=30")
    for room in v1["rooms"]:
        assert ids(room["messages"]["chunk"]) == ids(rooms[room["room_id"]]["messages"])
        assert sorted(ids(room["state"])) == sorted(ids(rooms[room["room_id"]]["state"]))
    # GET /eventStream with streaming token. Starts blocking.
    blocked = device.blocks(streaming=answer["streaming"])
    # Click on room !foo:bar. Start infinite scrolling.
    # GET /paginate. Pagination token from initial sync. Get events and store new pagination token.
    room = f"/rooms/{segment(world.lounge)}"
    page = device.get(f"{room}/paginate", token=lounge["token"], max=4)
    assert ids(page["events"]) == world.sent[-33:-29]
    page = device.get(f"{room}/paginate", token=page["token"], max=2)
    assert ids(page["events"]) == world.sent[-35:-33]
    sent = world.bob.send(world.lounge, "at last")
    streamed = blocked.result(PATIENCE_S)
    if not streamed["events"]:
        streamed = until_room_events(device, streamed["streaming"])
    assert ids(streamed["events"]) == [sent]


def test_1_with_the_token_as_it_was_made(world: World) -> None:
    """The client of the draft continues with the token that it stored first, which stands for its newest
    position.
    """
    device = world.login()
    token = device.post_streaming(users=["*"], rooms=["*"])
    device.get("/initialSync", max=30, streaming=token)
    sent = world.bob.send(world.lounge, "hello")
    assert ids(until_room_events(device, token)["events"]) == [sent]


def test_2_less_buggy_syweb_recreation(world: World) -> None:
    # Login. POST streaming token (users["*"], rooms["*"]). Store stream token.
    device = world.login()
    token = device.post_streaming(users=["*"], rooms=["*"])
    # POST event filter token (["m.room.message", "m.room.topic", "m.room.name", "m.room.member"]). Store as
    # Message Event filter token.
    messages = device.post_filter("m.room.message", "m.room.topic", "m.room.name", "m.room.member")
    # POST event filter token (["m.room.name", "m.room.topic", "m.room.member"]). Store as Current State Event
    # filter token.
    current = device.post_filter("m.room.name", "m.room.topic", "m.room.member")
    # GET /initialSync max=1 with all tokens.
    answer = device.get("/initialSync", max=1, streaming=token, filter=messages, state_filter=current)
    # Returns all rooms (rooms["*"]),
    rooms = rooms_of(answer)
    assert set(rooms) == {world.lounge, world.kitchen}
    # with name/topic/members (NOT all state),
    assert types(rooms[world.lounge]["state"]) == {"m.room.name", "m.room.topic", "m.room.member"}
    # with max 1 m.room.message/topic/name/member (truly honouring max=1),
    assert ids(rooms[world.lounge]["messages"]) == world.sent[-1:]
    assert [event["type"] for event in rooms[world.kitchen]["messages"]] == ["m.room.member"]
    # with presence (users["*"]).
    assert world.bob.user_id in present(answer)
    # GET /eventStream with stream token. Blocks.
    blocked = device.blocks(streaming=answer["streaming"])
    # Click on room !foo:bar. Start infinite scrolling.
    # GET /paginate with Message Event filter token. Returns only m.room.message/name/topic/member events.
    page = device.get(
        f"/rooms/{segment(world.lounge)}/paginate",
        token=rooms[world.lounge]["token"],
        filter=messages,
        max=100,
    )
    assert ids(page["events"])[-MESSAGES + 1 :] == world.sent[:-1]
    assert types(page["events"]) == {"m.room.message", "m.room.topic", "m.room.name", "m.room.member"}
    sent = world.bob.send(world.lounge, "at last")
    streamed = blocked.result(PATIENCE_S)
    if not streamed["events"]:
        streamed = until_room_events(device, streamed["streaming"])
    assert ids(streamed["events"]) == [sent]


def test_3_mobile_client(world: World) -> None:
    # Initially: Login. POST streaming token (users["*"], rooms["*"]). Store as stream token.
    device = world.login()
    token = device.post_streaming(users=["*"], rooms=["*"])
    # POST event filter token (["m.room.message"]). Store as Message Event filter token.
    messages = device.post_filter("m.room.message")
    # POST event filter token (["m.*"]). Store as Current State Event filter token.
    current = device.post_filter("m.*")
    filters = {"filter": messages, "state_filter": current}
    # GET /initialSync max=30 (we want a page worth of material) with all tokens. Returns all rooms
    # (rooms["*"]),
    answer = device.get("/initialSync", max=30, streaming=token, **filters)
    rooms = rooms_of(answer)
    assert set(rooms) == {world.lounge, world.kitchen}
    # with all m.* current state,
    state = world.alice.json("GET", f"{V3}/rooms/{segment(world.lounge)}/state")
    expected = [event["event_id"] for event in state if event["type"].startswith("m.")]
    assert sorted(ids(rooms[world.lounge]["state"])) == sorted(expected)
    assert len(expected) == len(state) - 1
    # with max [30] m.room.message,
    assert ids(rooms[world.lounge]["messages"]) == world.sent[-30:]
    # with presence (users["*"]).
    assert world.bob.user_id in present(answer)
    # GET /eventStream with stream token. Blocks.
    blocked = device.blocks(streaming=answer["streaming"])
    # Get some new events, new stream token. Quit app.
    seen = world.bob.send(world.lounge, "seen")
    streamed = blocked.result(PATIENCE_S)
    if not streamed["events"]:
        streamed = until_room_events(device, streamed["streaming"])
    assert ids(streamed["events"]) == [seen]
    stored = streamed["streaming"]
    assert stored != answer["streaming"]
    few = [world.bob.send(world.kitchen, str(number)) for number in range(3)]
    many = [world.bob.send(world.lounge, str(number)) for number in range(31)]
    fresh = world.bob.create_room(preset="public_chat")
    world.alice.join(fresh)
    # Subsequently: GET /initialSync max=30 with all tokens. Because the stream token has been used before, it
    # tries to get the diff between then and now, with the filter tokens specified.
    answer = device.get("/initialSync", max=30, streaming=stored, **filters)
    rooms = rooms_of(answer)
    # If it finds > 30 events for a given room, it returns a brand new page for that room.
    assert ids(rooms[world.lounge]["messages"]) == many[-30:]
    assert not rooms[world.lounge]["incremental"]
    page = device.get(
        f"/rooms/{segment(world.lounge)}/paginate", token=rooms[world.lounge]["token"], filter=messages, max=2
    )
    assert ids(page["events"]) == [seen, many[0]]
    # If it finds < 30 events, it returns those events.
    assert ids(rooms[world.kitchen]["messages"]) == few
    assert rooms[world.kitchen]["incremental"]
    assert "token" not in rooms[world.kitchen]
    # Any new rooms are also returned.
    assert "m.room.create" in types(rooms[fresh]["state"])
    # Returns a new stream token.
    assert answer["streaming"] not in (token, stored)
    # GET /eventStream with new stream token. Blocks.
    blocked = device.blocks(streaming=answer["streaming"])
    sent = world.bob.send(fresh, "at last")
    streamed = blocked.result(PATIENCE_S)
    if not streamed["events"]:
        streamed = until_room_events(device, streamed["streaming"])
    assert ids(streamed["events"]) == [sent]


def test_4_lightweight_client(world: World) -> None:
    device = world.login()
    # POST streaming token (rooms["*"] only, no presence). Store as streaming token.
    token = device.post_streaming(rooms=["*"])
    # POST event filter token (["m.room.message"]). Store message event filter token.
    messages = device.post_filter("m.room.message")
    # POST event filter token (["m.room.name"]). Store as current state event filter token.
    current = device.post_filter("m.room.name")
    # POST event filter token (["m.room.message", "m.room.name", "m.room.member"]). Store as eventStream
    # filter token.
    streamed_types = device.post_filter("m.room.message", "m.room.name", "m.room.member")
    # GET /initialSync max=1 with all tokens. Returns all rooms (rooms["*"]),
    answer = device.get("/initialSync", max=1, streaming=token, filter=messages, state_filter=current)
    rooms = rooms_of(answer)
    assert set(rooms) == {world.lounge, world.kitchen}
    # with 1 m.room.message,
    assert ids(rooms[world.lounge]["messages"]) == world.sent[-1:]
    assert rooms[world.kitchen]["messages"] == []
    # no presence,
    assert answer["presence"] == []
    # and just the current m.room.name if a room has it.
    assert [event["content"] for event in rooms[world.lounge]["state"]] == [{"name": "Lounge"}]
    assert rooms[world.kitchen]["state"] == []
    # Click on room !foo:bar. POST streaming token (rooms["!foo:bar"]), store as foo:bar token.
    door = world.bob.create_room(preset="public_chat")
    foo_bar = device.post_streaming(rooms=[world.lounge, door])
    # GET /eventStream with foo:bar token AND eventStream token.
    blocked = device.blocks(streaming=foo_bar, filter=streamed_types)
    # This will get new messages (m.room.message)
    world.set("m.room.topic", {"topic": "not asked for"})
    world.bob.send(world.kitchen, "elsewhere")
    message = world.bob.send(world.lounge, "hello")
    streamed = blocked.result(PATIENCE_S)
    assert (ids(streamed["events"]), "presence" in streamed) == ([message], False)
    # and room name changes (m.room.name).
    name = world.set("m.room.name", {"name": "Parlour"})
    world.set("m.room.name", {"name": "elsewhere"}, world.kitchen)
    streamed = until_room_events(device, streamed["streaming"], filter=streamed_types)
    assert ids(streamed["events"]) == [name]
    # It will also get me new room invites (m.room.member)
    elsewhere = world.bob.create_room()
    for room_id in (elsewhere, door):
        uri = f"{V3}/rooms/{segment(room_id)}/invite"
        world.bob.json("POST", uri, {"user_id": world.alice.user_id})
    streamed = until_room_events(device, streamed["streaming"], filter=streamed_types)
    [invite] = streamed["events"]
    assert (invite["room_id"], invite["content"]["membership"]) == (door, "invite")
    # and join/leave/kick/ban events (m.room.member), all JUST FOR THE ROOM !foo:bar.
    carol = register(world.alice.cloud, "test-4-carol")
    told = []
    for room_id in (world.kitchen, world.lounge):
        carol.join(room_id)
        room = f"{V3}/rooms/{segment(room_id)}"
        if room_id == world.lounge:
            streamed = until_room_events(device, streamed["streaming"], filter=streamed_types)
            told += [event["content"]["membership"] for event in streamed["events"]]
        carol.json("POST", f"{room}/leave")
        carol.join(room_id)
        world.bob.json("POST", f"{room}/kick", {"user_id": carol.user_id})
        if room_id == world.lounge:
            streamed = until_room_events(device, streamed["streaming"], filter=streamed_types)
            told += [event["content"]["membership"] for event in streamed["events"]]
            assert streamed["events"][0]["sender"] == world.bob.user_id
        world.bob.json("POST", f"{room}/ban", {"user_id": carol.user_id})
    streamed = until_room_events(device, streamed["streaming"], filter=streamed_types)
    told += [event["content"]["membership"] for event in streamed["events"]]
    assert {event["room_id"] for event in streamed["events"]} == {world.lounge}
    assert told == ["join", "leave", "ban"]
    carol.close()
