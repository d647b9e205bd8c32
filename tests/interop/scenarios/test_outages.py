"""After an outage of a server no event is missing or repeated."""

from __future__ import annotations

import pytest

from .conftest import Pair
from .people import eventually
from .servers import stopped
from .test_talking import agree, shared_room

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("synapse")]


@pytest.mark.parametrize("version", ["1", "10", "12"])
def test_the_other_server_was_away(pair: Pair, version: str) -> None:
    host, guest, room_id = shared_room(pair, version)
    host.say(room_id, "before")
    guest.hears(room_id, "before")
    said = ["before"]
    with stopped(pair.guest):
        for number in range(30):
            said.append(f"while away {number}")
            host.say(room_id, said[-1])
        host.put_state(room_id, "m.room.topic", {"topic": "while away"})
    guest.say(room_id, "back")  # which tells the host's server that it needn't wait any longer
    host.hears(room_id, "back")
    host.say(room_id, "after")
    guest.hears(room_id, "after")
    guest.sees_state(room_id, "m.room.topic", {"topic": "while away"})
    eventually(lambda: sorted(guest.history_texts(room_id)) == sorted([*said, "back", "after"]), "all of it")
    heard = [text for text in guest.history_texts(room_id) if text != "back"]
    assert heard == [*said, "after"]
    agree(room_id, host, guest)


@pytest.mark.parametrize("version", ["10"])
def test_both_wrote_while_they_were_apart(pair: Pair, version: str) -> None:
    """The guest's server stops before the host writes. The guest writes before the server gets the host's
    event.
    """
    host, guest, room_id = shared_room(pair, version)
    said = set()
    with stopped(pair.guest):
        for number in range(5):
            said.add(text := f"host {number}")
            host.say(room_id, text)
        host.put_state(room_id, "m.room.topic", {"topic": "host's"})
        pair.host.stop()
    try:
        for number in range(5):
            said.add(text := f"guest {number}")
            guest.say(room_id, text)
    finally:
        pair.host.start()
    guest.say(room_id, "last")
    said.add("last")
    for person in (host, guest):
        person.reads_all(room_id, said)
    agree(room_id, host, guest)
    host.say(room_id, "one room again")
    guest.hears(room_id, "one room again")
    agree(room_id, host, guest)
