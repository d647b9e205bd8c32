"""Two of our servers lose contact for a while, change keys, and refuse each other's users."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from local_cloud.testing import LocalCloud
from murmuration.clock import now_ms
from murmuration.federation.keys import fetching
from murmuration.protocol.identifiers import ServerName
from murmuration.storage.servers import remote_keys
from operators import cli, operating
from tests.federation.membership.test_two_clouds import V3, User, said
from tests.local_cloud.waiting import until

pytestmark = pytest.mark.long


def where(room_id: str) -> str:
    return f"{V3}/rooms/{quote(room_id)}"


def say(user: User, room_id: str, text: str) -> None:
    path = f"{where(room_id)}/send/m.room.message/{quote(text)}"
    user.call("PUT", path, {"msgtype": "m.text", "body": text})


def shared_room(alice: User, bob: User, version: str, **body: object) -> str:
    content = {"preset": "public_chat", "room_version": version, **body}
    room_id: str = alice.call("POST", f"{V3}/createRoom", content)["room_id"]
    bob.call("POST", f"{V3}/join/{quote(room_id)}?via={alice.cloud.server_name}", {})
    return room_id


def history(user: User, room_id: str) -> list[str]:
    """Return the texts of the messages, each event once."""
    events = []
    query = ""
    while True:
        page = user.call("GET", f"{where(room_id)}/messages?dir=b&limit=50{query}")
        events += page["chunk"]
        if "end" not in page:
            break
        query = f"&from={quote(page['end'])}"
    ids = [event["event_id"] for event in events]
    assert len(ids) == len(set(ids))
    return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]


def state(user: User, room_id: str) -> dict[tuple[str, str], str]:
    events = user.call("GET", f"{where(room_id)}/state")
    return {(event["type"], event["state_key"]): event["event_id"] for event in events}


def meet_again(*clouds: LocalCloud) -> None:
    """Let each server try the other again, as after ten minutes."""
    from murmuration.federation.requests import health
    from murmuration.storage.servers import backlogs, destinations

    for one, other in (clouds, clouds[::-1]):
        with operating.connected(one.data, None):
            health.forget()
            destinations.clear(ServerName(other.server_name))
            backlogs.hasten(ServerName(other.server_name))


@pytest.mark.parametrize("version", ["6", "12"])
def test_both_wrote_while_they_were_apart(two: list[LocalCloud], version: str) -> None:
    """Both servers also changed the same state. In the end both have the same state and all messages."""
    first, second = two
    alice, bob = User(first, f"alice{version}"), User(second, f"bob{version}")
    levels = {"state_default": 0, "events": {}}
    room_id = shared_room(alice, bob, version, power_level_content_override=levels)
    say(alice, room_id, "together")
    bob.until(said(room_id, "together"))
    expected = {"together"}

    def write(writer: User) -> None:
        for number in range(5):
            text = f"{number} of {writer.user_id}"
            say(writer, room_id, text)
            expected.add(text)
        writer.call("PUT", f"{where(room_id)}/state/m.room.topic", {"topic": writer.user_id})

    first.stop()
    write(bob)
    second.stop()
    first.start()
    write(alice)
    second.start()
    meet_again(first, second)
    until(lambda: set(history(alice, room_id)) == set(history(bob, room_id)) == expected, 150, pause=1.0)
    until(lambda: state(alice, room_id) == state(bob, room_id), 60, pause=0.5)
    say(alice, room_id, "together again")
    bob.until(said(room_id, "together again"))
    assert state(alice, room_id) == state(bob, room_id)


def wait_to_ask_for_keys(asking: LocalCloud, asked: LocalCloud) -> None:
    """Wait until a server may ask another for keys again, which it does once a minute at most."""
    with operating.connected(asking.data, None):
        last = remote_keys.read_many([(asked.server_name, "ed25519:any")])[1][ServerName(asked.server_name)]
    until(lambda: now_ms() > last.at_ms + fetching.URGENT_MS, fetching.URGENT_MS / 1000 + 30, pause=0.2)


def test_a_server_changes_its_key(two: list[LocalCloud]) -> None:
    """Users who join later accept what the server signed with the old key, and what it signs with the new
    one.
    """
    first, second = two
    alice, bob, carol = User(first, "alice"), User(second, "bob"), User(second, "carol")
    room_id = shared_room(alice, bob, "10")
    older = alice.call("POST", f"{V3}/createRoom", {"preset": "public_chat"})["room_id"]
    say(alice, room_id, "by the old key")
    bob.until(said(room_id, "by the old key"))
    wait_to_ask_for_keys(second, first)
    assert cli.main(["keys", "rotate", "--data", str(first.data)]) == 0
    first.restart()
    say(alice, room_id, "by the new key")
    bob.until(said(room_id, "by the new key"))
    say(bob, room_id, "heard")
    alice.until(said(room_id, "heard"))
    carol.call("POST", f"{V3}/join/{quote(older)}?via={first.server_name}", {})
    say(carol, older, "in the older room")
    alice.until(said(older, "in the older room"))


@pytest.mark.parametrize("version", ["7", "12"])
def test_a_knock_is_refused(two: list[LocalCloud], version: str) -> None:
    alice, bob = User(two[0], f"alice-k{version}"), User(two[1], f"bob-k{version}")
    rules = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    body = {"preset": "private_chat", "room_version": version, "initial_state": [rules]}
    room_id = alice.call("POST", f"{V3}/createRoom", body)["room_id"]
    bob.call("POST", f"{V3}/knock/{quote(room_id)}?via={two[0].server_name}", {})
    bob.until(lambda answer: room_id in answer.get("rooms", {}).get("knock", {}))
    member = f"{where(room_id)}/state/m.room.member/{quote(bob.user_id)}"
    assert alice.call("GET", member)["membership"] == "knock"
    alice.call("POST", f"{where(room_id)}/kick", {"user_id": bob.user_id})
    bob.until(lambda answer: room_id in answer.get("rooms", {}).get("leave", {}))
