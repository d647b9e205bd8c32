"""Deleting the data of other servers' rooms that all local users have left."""

from __future__ import annotations

from typing import Any

import pytest

from functions.workers.schedules.delete_empty_rooms import handler
from local_cloud.permissions import acting_for, module_of
from murmuration.aws import dynamodb
from murmuration.clock import DAY_MS, now_ms
from murmuration.federation.devices import resyncing
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.rooms.lifecycle import deletion
from murmuration.storage.keys import remote_devices
from murmuration.storage.rooms import event_store
from tests.federation.hosting import Host, HostedRoom
from tests.in_process import Client, segment
from tests.rooms.people import V3, ok, path

pytestmark = pytest.mark.usefixtures("jobs")


def join(client: Client, room: HostedRoom, host: Host) -> None:
    ok(client.post(f"{V3}/join/{segment(room.room_id)}?via={host.remote.name}"))


def events_of(room_id: str) -> list[Any]:
    found = dynamodb.scan("events", ConsistentRead=True)
    return [item["event_id"] for item in found if item["room_id"] == room_id]


def delete_empty_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the schedule's worker a month later, and again on the next day, with its role."""
    for days in (31, 32):
        monkeypatch.setattr(deletion, "now_ms", lambda days=days: now_ms() + days * DAY_MS)
        with acting_for(module_of(handler)):
            handler({}, None)


@pytest.fixture(params=["1", "11", "12"])
def room(request: pytest.FixtureRequest, alice: Client, host: Host) -> HostedRoom:
    """Return a room whose power levels changed before Alice joined it."""
    made = host.room(request.param)
    for number in (1, 2):
        levels = made.state["m.room.power_levels", ""].content
        made.add("m.room.power_levels", {**levels, "events": {"m.room.name": 50 + number}}, "")
        made.add("m.room.name", {"name": f"Tea {number}"}, "")
    join(alice, made, host)
    return made


def test_a_rooms_outliers_are_deleted_with_it(
    alice: Client, room: HostedRoom, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = host.room("11")
    join(alice, other, host)
    authorising = [each for event in room.state.values() for each in event.auth_events]
    kinds = {each.kind for each in event_store.read(authorising, room.version, RoomId(room.room_id)).values()}
    assert kinds == {"outlier"}
    assert len(events_of(room.room_id)) > len(room.state)
    before = sorted(events_of(other.room_id))
    ok(alice.post(path(room.room_id, "leave")))
    delete_empty_rooms(monkeypatch)
    assert events_of(room.room_id) == []
    assert sorted(events_of(other.room_id)) == before


def test_device_lists_that_nobody_needs_are_deleted_later(
    alice: Client, room: HostedRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = UserId(room.creator)
    before = remote_devices.begin(owner)
    remote_devices.observe(owner, alice.user_id)
    content = remote_devices.RemoteDevices()
    assert remote_devices.store(before, content, [1], now_ms=now_ms(), untold=False)
    ok(alice.post(path(room.room_id, "leave")))
    resyncing.resync(owner)
    assert list(remote_devices.read_lists([owner])) == [owner], "it counts as fresh"
    delete_empty_rooms(monkeypatch)
    (parked,) = [item for item in dynamodb.scan("parked") if item["sk"] == owner]
    assert parked["due_ms"] <= now_ms() + 60_000
    resyncing.resync(owner)
    assert remote_devices.read_lists([owner]) == {}
    assert remote_devices.read_observers(owner) == []
