"""A room's messages and state are the same on both servers."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Pair
from .people import Person, RequestRefused, eventually, where

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("synapse")]

VERSIONS = ["1", "6", "10", "12"]


def shared_room(pair: Pair, version: str, **body: Any) -> tuple[Person, Person, str]:
    """Return a public room of the host's that the guest joined by its alias."""
    host, guest = pair.people()
    name = f"room-{host.user_id[1:].partition(':')[0]}"
    room_id = host.create(version, room_alias_name=name, **body)
    assert guest.join(f"#{name}:{host.server_name}", host.server_name) == room_id
    host.sees_member(room_id, guest.user_id, "join")
    guest.is_told(room_id, "join")
    return host, guest, room_id


def agree(room_id: str, *people: Person) -> None:
    """Wait until all have the same state. Each must have got each event once."""
    eventually(lambda: len({frozenset(each.state_of(room_id).items()) for each in people}) == 1, "same state")
    for person in people:
        ids = person.room(room_id).ids()
        assert len(ids) == len(set(ids))


@pytest.mark.parametrize("version", [str(number) for number in range(1, 13)])
def test_messages_come_in_order_both_ways(pair: Pair, version: str) -> None:
    host, guest, room_id = shared_room(pair, version)
    said = []
    for number in range(3):
        for speaker, listener in ((host, guest), (guest, host)):
            for part in "ab":
                said.append(f"{number}{part} of {speaker.user_id}")
                speaker.say(room_id, said[-1])
            listener.hears(room_id, said[-1])
    host.hears(room_id, said[-1])
    guest.hears(room_id, said[-1])
    assert host.room(room_id).texts() == guest.room(room_id).texts() == said
    assert host.members(room_id) == guest.members(room_id) == {host.user_id, guest.user_id}
    agree(room_id, host, guest)


def test_messages_at_the_same_time(pair: Pair) -> None:
    """Both write without waiting for the other. Nothing is lost, and both end with the same state."""
    host, guest, room_id = shared_room(pair, "10", power_level_content_override={"state_default": 0})
    said = set()
    for number in range(10):
        for person in (host, guest):
            said.add(text := f"{number} of {person.user_id}")
            person.say(room_id, text)
            if number == 5:
                person.put_state(room_id, "org.example.note", {"by": person.user_id})
    for person in (host, guest):
        person.reads_all(room_id, said)  # who syncs may be sent there, where state of both was resolved
        for speaker in (host, guest):
            own = [text for text in person.history_texts(room_id) if text.endswith(speaker.user_id)]
            assert own == sorted(own)
    agree(room_id, host, guest)


@pytest.mark.parametrize("version", VERSIONS)
def test_edits_and_redactions(pair: Pair, version: str) -> None:
    host, guest, room_id = shared_room(pair, version)
    for speaker, listener in ((host, guest), (guest, host)):
        first = speaker.say(room_id, f"teh tea of {speaker.user_id}")
        edited = {"msgtype": "m.text", "body": "the tea"}
        speaker.send(
            room_id,
            "m.room.message",
            {
                **edited,
                "body": f"* the tea of {speaker.user_id}",
                "m.new_content": edited,
                "m.relates_to": {"rel_type": "m.replace", "event_id": first},
            },
        )
        listener.hears(room_id, f"* the tea of {speaker.user_id}")
        bundled = listener.event(room_id, first)["unsigned"]["m.relations"]["m.replace"]
        assert bundled["content"]["m.new_content"] == edited
        slip = speaker.say(room_id, f"slip of {speaker.user_id}")
        listener.hears(room_id, f"slip of {speaker.user_id}")
        redaction = speaker.redact(room_id, slip)
        listener.finds_redacted(room_id, slip)
        because = listener.event(room_id, slip)["unsigned"]["redacted_because"]
        assert (because["event_id"], because["sender"]) == (redaction, speaker.user_id)
    # A moderator redacts what somebody on the other server said.
    slip = guest.say(room_id, "rude")
    host.hears(room_id, "rude")
    host.redact(room_id, slip)
    for person in (host, guest):
        person.finds_redacted(room_id, slip)
    agree(room_id, host, guest)


def test_somebody_without_power_redacts_nothing_elsewhere(pair: Pair) -> None:
    """In versions 1 and 2 servers refuse the event. Since version 3 they accept it, and it has no effect."""
    host, guest, room_id = shared_room(pair, "10")
    word = host.say(room_id, "stays")
    guest.hears(room_id, "stays")
    with pytest.raises(RequestRefused) as refused:
        guest.redact(room_id, word)
    assert (refused.value.status, refused.value.errcode) == (403, "M_FORBIDDEN")
    assert host.event(room_id, word)["content"]["body"] == "stays"


@pytest.mark.parametrize("version", VERSIONS)
def test_state_and_power(pair: Pair, version: str) -> None:
    host, guest, room_id = shared_room(pair, version)
    host.put_state(room_id, "m.room.topic", {"topic": "Tea"})
    guest.sees_state(room_id, "m.room.topic", {"topic": "Tea"})
    with pytest.raises(RequestRefused) as refused:
        guest.put_state(room_id, "m.room.topic", {"topic": "Coffee"})
    assert refused.value.errcode == "M_FORBIDDEN"
    levels = host.call("GET", f"{where(room_id)}/state/m.room.power_levels")
    levels.setdefault("users", {})[guest.user_id] = 50
    host.put_state(room_id, "m.room.power_levels", levels)
    guest.until(lambda: guest.room(room_id).content("m.room.power_levels").get("users") == levels["users"])
    guest.put_state(room_id, "m.room.topic", {"topic": "Coffee"})
    host.sees_state(room_id, "m.room.topic", {"topic": "Coffee"})
    guest.put_state(room_id, "m.room.name", {"name": "Café ☕"})
    host.sees_state(room_id, "m.room.name", {"name": "Café ☕"})
    agree(room_id, host, guest)


@pytest.mark.parametrize("version", VERSIONS)
def test_who_joins_late_reads_the_past(pair: Pair, version: str) -> None:
    host, guest = pair.people()
    room_id = host.create(version)
    said = [f"before {number}" for number in range(130)]
    for text in said:
        host.say(room_id, text)
    guest.join(room_id, host.server_name)
    guest.is_told(room_id, "join")

    eventually(lambda: guest.history_texts(room_id) == said, "the whole past, in order")
    assert not set(guest.room(room_id).texts()) - set(said)
    first = guest.history(room_id)[-1]
    assert first["type"] == "m.room.create"
    host.say(room_id, "after")
    guest.hears(room_id, "after")


@pytest.mark.parametrize("version", ["1", "12"])
def test_a_profile_change_reaches_the_other_server(pair: Pair, version: str) -> None:
    host, guest, room_id = shared_room(pair, version)
    for speaker, listener in ((host, guest), (guest, host)):
        speaker.call("PUT", f"/profile/{speaker.user_id}/displayname", {"displayname": "Ünlü"})
        listener.sees_name(room_id, speaker.user_id, "Ünlü")
    agree(room_id, host, guest)


def test_an_alias_is_asked_for_at_its_server(pair: Pair) -> None:
    """The guest knows only the alias of the room, and no server that is in it."""
    host, guest = pair.people()
    name = f"dir-{host.user_id[1:].partition(':')[0]}"
    room_id = host.create("10", room_alias_name=name)
    assert guest.join(f"#{name}:{host.server_name}") == room_id
    with pytest.raises(RequestRefused) as refused:
        guest.join(f"#none-{name}:{host.server_name}")
    assert (refused.value.status, refused.value.errcode) == (404, "M_NOT_FOUND")
