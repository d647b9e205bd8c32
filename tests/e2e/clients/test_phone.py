"""A phone's day: it sleeps, its gateway rings it, it is opened, reads, and the number on the icon is 0."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import pytest

from local_cloud.testing import LocalCloud, local_cloud
from tests.e2e.conftest import ENVIRONMENT
from tests.e2e.raw import V3, Raw, register, segment
from tests.push.gateway import Gateway

pytestmark = pytest.mark.long

PATIENCE_S = 60


class Bell(Gateway):
    """A push gateway that is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.rings: queue.Queue[dict[str, Any]] = queue.Queue()
        self.came = _Put(self.rings)

    def next(self) -> dict[str, Any]:
        """Return the next notification. Raises queue.Empty if none comes in time."""
        return self.rings.get(timeout=PATIENCE_S)


class _Put(list[dict[str, Any]]):
    def __init__(self, rings: queue.Queue[dict[str, Any]]) -> None:
        super().__init__()
        self.append = rings.put  # type: ignore[method-assign]


@pytest.fixture
def bell() -> Iterator[Bell]:
    made = Bell()
    yield made
    made.close()


@pytest.fixture
def pushing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """Yield a server that pushes to gateways on the same machine."""
    environment = {**ENVIRONMENT, "MURMURATION_PUSH_PRIVATE_GATEWAYS": "on"}
    with local_cloud(tmp_path_factory.mktemp("pushing"), environment=environment) as cloud:
        yield cloud
        print("".join(cloud.output))


def sync(phone: Raw, since: str = "") -> Any:
    return phone.json("GET", f"{V3}/sync?timeout=0" + (f"&since={since}" if since else ""))


def test_a_day(pushing: LocalCloud, bell: Bell) -> None:
    phone, bob = register(pushing, "alice"), register(pushing, "bob")
    room = bob.json("POST", f"{V3}/createRoom", {"preset": "private_chat", "invite": [phone.user_id]})[
        "room_id"
    ]
    phone.join(room)
    pusher = {
        "app_id": "org.example.app",
        "pushkey": "the phone",
        "kind": "http",
        "app_display_name": "App",
        "device_display_name": "Phone",
        "lang": "en",
        "data": {"url": bell.url},
    }
    phone.json("POST", f"{V3}/pushers/set", pusher)
    since = sync(phone)["next_batch"]

    # It sleeps. What is said rings it, each time with the number for its icon. Rings of messages that
    # are sent at once come in any order, so each ring is waited for.
    sent, rings = [], []
    for text in ("Are you there?", "It is late", "Good night"):
        sent.append(bob.send(room, text))
        rings.append(bell.next())
    assert [ring["event_id"] for ring in rings] == sent
    assert [ring["counts"]["unread"] for ring in rings] == [1, 2, 3]
    assert [ring["content"]["body"] for ring in rings] == ["Are you there?", "It is late", "Good night"]
    assert {ring["devices"][0]["pushkey"] for ring in rings} == {"the phone"}

    # It is opened: all is there, and unread.
    found = sync(phone, since)
    joined = found["rooms"]["join"][room]
    assert [event["event_id"] for event in joined["timeline"]["events"]] == sent
    assert joined["unread_notifications"]["notification_count"] == 3

    # It reads, and the icon's number goes, on the other devices too.
    phone.json("POST", f"{V3}/rooms/{segment(room)}/receipt/m.read/{segment(sent[-1])}")
    read = bell.next()
    assert "event_id" not in read
    assert read["counts"] == {"unread": 0}
    joined = sync(phone, found["next_batch"])["rooms"]["join"][room]
    assert joined["unread_notifications"]["notification_count"] == 0

    # What its owner says rings nobody; the next word of another does, from one on.
    phone.send(room, "Good night")
    again = bob.send(room, "Sleep well")
    ring = bell.next()
    assert (ring["event_id"], ring["counts"]["unread"]) == (again, 1)

    # Logged out, it is silent: the ring of another phone shows that the word was pushed.
    other = register(pushing, "carol")
    bob.json("POST", f"{V3}/rooms/{segment(room)}/invite", {"user_id": other.user_id})
    other.join(room)
    other.json("POST", f"{V3}/pushers/set", {**pusher, "pushkey": "another phone"})
    phone.json("POST", f"{V3}/logout")
    last = bob.send(room, "Still awake?")
    heard = [bell.next()]
    while heard[-1].get("event_id") != last:
        heard.append(bell.next())
    assert {ring["devices"][0]["pushkey"] for ring in heard if ring.get("event_id") == last} == {
        "another phone"
    }
    assert bell.rings.empty()
