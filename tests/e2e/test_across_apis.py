"""Each change that is made through one client API is seen through every other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from local_cloud.testing import LocalCloud
from tests.e2e.apis import (
    V1,
    V2,
    V3,
    Event,
    Found,
    Reader,
    Writer,
    WriterSocket,
    WriterV1,
    WriterV2,
    readers_of,
    room_path,
)
from tests.e2e.raw import Raw, register, segment

WRITERS = {"v1": WriterV1, "v2": WriterV2, "v3": Writer, "WebSocket": WriterSocket}
ALL = [*WRITERS]
"""Messages, state and memberships go by each."""
HTTP = ["v1", "v2", "v3"]
"""A WebSocket knows no other requests."""
_numbers = itertools.count(1)


class Stage:
    """A room of Alice's in which Bob, who reads by everything, is too."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud
        self.alice, self.bob = register(cloud, "alice-across"), register(cloud, "bob-across")
        self.room_id = self.alice.create_room(preset="public_chat")
        self.bob.join(self.room_id)
        self.readers = readers_of(self.bob)
        self._writers: dict[str, Writer] = {}

    def writer(self, api: str) -> Writer:
        """Return Alice as a writer by an API."""
        if api not in self._writers:
            self._writers[api] = WRITERS[api](self.alice.again())
        return self._writers[api]

    def newcomer(self) -> Raw:
        return register(self.cloud, f"newcomer-{next(_numbers)}")

    def all_see(self, found: Found, *, live: bool | None = None) -> list[Event]:
        """Return the event as each reader shows it; with `live`, only from readers that are live or that
        aren't.
        """
        readers = [reader for reader in self.readers if live in (None, reader.live)]
        return [reader.see(self.room_id, found) for reader in readers]

    def close(self) -> None:
        for reader in self.readers:
            reader.close()
        for writer in self._writers.values():
            writer.close()
        self.alice.close()
        self.bob.close()


@pytest.fixture(scope="module")
def stage(shared_cloud: LocalCloud) -> Iterator[Stage]:
    stage = Stage(shared_cloud)
    yield stage
    stage.close()
    assert not [line for line in shared_cloud.output if "AccessDenied" in line]


def fresh(text: str) -> str:
    return f"{text} {next(_numbers)}"


def is_event(event_id: str) -> Found:
    return lambda event: event.get("event_id") == event_id


def membership(user_id: str, value: str) -> Found:
    def found(event: Event) -> bool:
        shown = event["content"].get("membership")
        return (event["type"], event.get("state_key"), shown) == ("m.room.member", user_id, value)

    return found


@pytest.mark.parametrize("api", ALL)
def test_messages(stage: Stage, api: str) -> None:
    text = fresh("hello")
    event_id = stage.writer(api).message(stage.room_id, text)
    for event in stage.all_see(is_event(event_id)):
        assert event["content"] == {"msgtype": "m.text", "body": text}
        assert event["sender"] == stage.alice.user_id
    name = segment(event_id)
    one = stage.bob.json("GET", f"{V1}/events/{name}")
    two = stage.bob.json("GET", f"{V2}/events/{name}/context?max=1&position=before")["events"][-1]
    three = stage.bob.json("GET", room_path(V3, stage.room_id, "event", event_id))
    assert [event["content"]["body"] for event in (one, two, three)] == [text] * 3


@pytest.mark.parametrize("api", ALL)
def test_state(stage: Stage, api: str) -> None:
    content, key = {"text": fresh("state")}, f"{api} key"
    event_id = stage.writer(api).state(stage.room_id, "org.example.state", key, content)
    for event in stage.all_see(is_event(event_id)):
        assert (event["type"], event["state_key"]) == ("org.example.state", key)
        assert event["content"] == content
    for base in (V1, V3):
        assert (
            stage.bob.json("GET", room_path(base, stage.room_id, "state", "org.example.state", key))
            == content
        )


@pytest.mark.parametrize("api", ALL)
def test_redactions(stage: Stage, api: str) -> None:
    writer = stage.writer(api)
    event_id = writer.message(stage.room_id, fresh("a slip"))
    stage.all_see(is_event(event_id))
    redaction_id = writer.redact(stage.room_id, event_id)
    for event in stage.all_see(is_event(redaction_id), live=True):
        assert event["type"] == "m.room.redaction"
        assert event_id in (event.get("redacts"), event["content"].get("redacts"))
    for event in stage.all_see(is_event(event_id), live=False):
        assert event["content"] == {}
        assert event["unsigned"]["redacted_because"]["event_id"] == redaction_id


@pytest.mark.parametrize("api", ALL)
def test_memberships(stage: Stage, api: str) -> None:
    person = stage.newcomer()
    theirs: list[Reader] = [reader for reader in readers_of(person) if reader.live]
    alice, carol = stage.writer(api), WRITERS[api](person)
    alice.invite(stage.room_id, person.user_id)
    for reader in theirs:
        invitation = reader.see(stage.room_id, membership(person.user_id, "invite"))
        assert invitation["sender"] == stage.alice.user_id
    stage.all_see(membership(person.user_id, "invite"))
    carol.join(stage.room_id)
    for readers in (stage.readers, theirs):
        for reader in readers:
            reader.see(stage.room_id, membership(person.user_id, "join"))
    carol.leave(stage.room_id)
    for event in stage.all_see(membership(person.user_id, "leave")):
        assert event["sender"] == person.user_id
    carol.join(stage.room_id)
    alice.kick(stage.room_id, person.user_id)

    def kicked(event: Event) -> bool:
        left = membership(person.user_id, "leave")
        return bool(left(event)) and event["sender"] == stage.alice.user_id

    stage.all_see(kicked)
    for reader in theirs:
        reader.see(stage.room_id, kicked)
        reader.close()
    carol.close()


@pytest.mark.parametrize("api", HTTP)
def test_typing(stage: Stage, api: str) -> None:
    for typing in (True, False):
        stage.writer(api).typing(stage.room_id, typing)
        users = [stage.alice.user_id] if typing else []

        def said(event: Event, users: list[str] = users) -> bool:
            return (event["type"], event["content"].get("user_ids")) == ("m.typing", users)

        stage.all_see(said, live=True)
        for reader in stage.readers:
            forget_typing(reader)


def forget_typing(reader: Reader) -> None:
    """Clear typing, so that the next identical notification is new."""
    came = getattr(reader, "came", [])
    came[:] = [event for event in came if event["type"] != "m.typing"]


@pytest.mark.parametrize("api", ["v2", "v3"])
def test_receipts(stage: Stage, api: str) -> None:
    """Version 1 had no receipts. Its stream shows them anyway."""
    writer = stage.writer(api)
    event_id = writer.message(stage.room_id, fresh("read this"))
    writer.receipt(stage.room_id, event_id)

    def read(event: Event) -> bool:
        users = event["content"].get(event_id, {}).get("m.read", {}) if event["type"] == "m.receipt" else {}
        return bool(users.get(stage.alice.user_id))

    stage.all_see(read, live=True)
    shown = stage.bob.json("GET", f"{V1}/initialSync?limit=1")["receipts"]
    assert any(read(event) for event in shown)


@pytest.mark.parametrize("api", HTTP)
def test_presence(stage: Stage, api: str) -> None:
    message = fresh("out for")
    stage.writer(api).presence(message)

    def told(event: Event) -> bool:
        about = (event["type"], event.get("sender")) == ("m.presence", stage.alice.user_id)
        return about and event["content"].get("status_msg") == message

    stage.all_see(told, live=True)
    for base in (V1, V2, V3):
        status = stage.bob.json("GET", f"{base}/presence/{segment(stage.alice.user_id)}/status")
        assert status["status_msg"] == message


@pytest.mark.parametrize("api", HTTP)
def test_profiles(stage: Stage, api: str) -> None:
    name = fresh("Alice")
    stage.writer(api).name(name)

    def renamed(event: Event) -> bool:
        joined = membership(stage.alice.user_id, "join")(event)
        return bool(joined) and event["content"].get("displayname") == name

    def told(event: Event) -> bool:
        about = (event["type"], event.get("sender")) == ("m.presence", stage.alice.user_id)
        return about and event["content"].get("displayname") == name

    stage.all_see(renamed)
    stage.all_see(told, live=True)
    for base in (V1, V2, V3):
        path = f"{base}/profile/{segment(stage.alice.user_id)}"
        assert stage.bob.json("GET", path)["displayname"] == name
        assert stage.bob.json("GET", f"{path}/displayname") == {"displayname": name}
