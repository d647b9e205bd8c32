"""The old `matrix-client` package, of r0's time: two people, each with its own event loop in a thread."""

from __future__ import annotations

import queue
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from matrix_client.client import MatrixClient
from matrix_client.errors import MatrixRequestError
from matrix_client.room import Room

from local_cloud.testing import LocalCloud

pytestmark = pytest.mark.long

PATIENCE_S = 60
WAIT_MS = 5_000
PASSWORD = "correct horse"

Listening = Callable[[MatrixClient], "queue.Queue[dict[str, Any]]"]


@pytest.fixture
def listening() -> Iterator[Listening]:
    """Start a client's own loop, and yield the queue of events that come in rooms."""
    started: list[MatrixClient] = []

    def start(client: MatrixClient) -> queue.Queue[dict[str, Any]]:
        events: queue.Queue[dict[str, Any]] = queue.Queue()
        client.add_listener(events.put)
        client.start_listener_thread(WAIT_MS)
        started.append(client)
        return events

    yield start
    for client in started:
        client.should_listen = False


def register(cloud: LocalCloud, name: str) -> tuple[MatrixClient, str]:
    client, chosen = MatrixClient(cloud.url), f"{name}-{secrets.token_hex(3)}"
    client.register_with_password(chosen, PASSWORD)
    return client, chosen


def next_of(events: queue.Queue[dict[str, Any]], wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the next event that is wanted. Raises queue.Empty if none comes in time."""
    while True:
        event = events.get(timeout=PATIENCE_S)
        if wanted(event):
            return event


def says(text: str) -> Callable[[dict[str, Any]], bool]:
    return lambda event: event["content"].get("body") == text


def joins(client: MatrixClient) -> Callable[[dict[str, Any]], bool]:
    wanted = (client.user_id, "join")
    return lambda event: (event.get("state_key"), event["content"].get("membership")) == wanted


def test_two_people_talk(shared_cloud: LocalCloud, listening: Listening) -> None:
    _, name = register(shared_cloud, "alice")
    alice = MatrixClient(shared_cloud.url)
    assert alice.login(name, PASSWORD, sync=True)
    bob, _ = register(shared_cloud, "bob")
    room: Room = alice.create_room(is_public=False)
    invitations: queue.Queue[str] = queue.Queue()
    bob.add_invite_listener(lambda room_id, _state: invitations.put(room_id))
    to_alice, to_bob = listening(alice), listening(bob)

    assert room.invite_user(bob.user_id)
    theirs: Room = bob.join_room(invitations.get(timeout=PATIENCE_S))
    assert theirs.room_id == room.room_id
    assert next_of(to_alice, joins(bob))

    room.send_text("hello")
    assert next_of(to_bob, says("hello"))["sender"] == alice.user_id
    theirs.send_emote("waves")
    assert next_of(to_alice, says("waves"))["content"]["msgtype"] == "m.emote"
    assert room.set_room_topic("birds")
    assert next_of(to_bob, lambda event: event["type"] == "m.room.topic")["content"]["topic"] == "birds"
    assert theirs.topic == "birds"
    assert room.set_room_name("The aviary")
    assert next_of(to_bob, lambda event: event["type"] == "m.room.name")
    assert theirs.name == "The aviary"
    assert {member.user_id for member in theirs.get_joined_members()} == {alice.user_id, bob.user_id}


def test_history_and_redactions(shared_cloud: LocalCloud, listening: Listening) -> None:
    alice, _ = register(shared_cloud, "alice")
    room: Room = alice.create_room(is_public=True)
    for number in range(30):
        room.send_text(f"number {number}")
    bob, _ = register(shared_cloud, "bob")
    theirs: Room = bob.join_room(room.room_id)
    bob.listen_for_events(0)
    bodies: list[str] = []
    theirs.add_listener(lambda _room, event: bodies.append(event["content"].get("body", "")))
    theirs.backfill_previous_messages(limit=40)
    said = [body for body in bodies if body.startswith("number")]
    assert len(said) > 10
    assert said == [f"number {number}" for number in range(len(said))]

    to_bob = listening(bob)
    event_id = room.send_text("a mistake")["event_id"]
    assert next_of(to_bob, says("a mistake"))
    room.redact_message(event_id, "oops")
    assert next_of(to_bob, lambda event: event["type"] == "m.room.redaction")["redacts"] == event_id


def test_errors_are_its_errors(shared_cloud: LocalCloud) -> None:
    alice, name = register(shared_cloud, "alice")
    with pytest.raises(MatrixRequestError) as error:
        MatrixClient(shared_cloud.url).login(name, "wrong")
    assert error.value.code == 403
    room: Room = alice.create_room(is_public=False)
    bob, _ = register(shared_cloud, "bob")
    with pytest.raises(MatrixRequestError) as error:
        bob.join_room(room.room_id)
    assert error.value.code == 403
    alice.logout()
    with pytest.raises(MatrixRequestError) as error:
        alice.listen_for_events(0)
    assert error.value.code == 401
