"""Which users are told when devices of other servers' users change, and for how long."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from murmuration.federation.devices import meeting
from murmuration.federation.devices.meeting import note_members, observe_members
from murmuration.protocol.identifiers import DeviceId, RoomId, UserId
from murmuration.storage.keys import remote_devices
from murmuration.storage.rooms import local_members, room_items
from tests.federation.devices.conftest import encrypted_room
from tests.federation.devices.elsewhere import Elsewhere
from tests.federation.devices.test_tracking import Told, devices, newest_entry
from tests.federation.outbound import Workers
from tests.federation.peers import Worker, share_room
from tests.in_process import Client
from tests.logged_in import log_in
from tests.rooms.other_servers import Mirror
from tests.rooms.people import join, leave, set_state


@pytest.fixture
def told(alice: Client, room: Mirror) -> Told:
    return Told(alice)


@pytest.fixture
def carol(fresh_user_id: Callable[[str], str]) -> Client:
    return log_in(UserId(fresh_user_id("carol")), DeviceId("CAROL"))


def note_newest(room: Mirror) -> None:
    """What the Streams worker does about a room's newest entry."""
    observe_members([newest_entry(room)])
    note_members([newest_entry(room)])


def observers(elsewhere: Elsewhere) -> set[str]:
    return {each.user_id for each in remote_devices.read_observers(elsewhere.bob)}


# -- Being told again and again --------------------------------------------------------------------------


def test_each_change_is_told_though_nobody_asks(
    alice: Client, elsewhere: Elsewhere, told: Told, worker: Worker
) -> None:
    elsewhere.log_in("PHONE")
    devices(alice, elsewhere.bob)
    for change, device_id in (
        (elsewhere.log_in, "TABLET"),
        (elsewhere.log_in, "LAPTOP"),
        (elsewhere.log_out, "TABLET"),
        (elsewhere.log_out, "LAPTOP"),
    ):
        elsewhere.tell(change(device_id))
        worker.run()
        assert told.changed() == {elsewhere.bob}
    assert told.changed() == set()


def test_who_never_asks_is_forgotten_in_the_end(
    alice: Client, elsewhere: Elsewhere, told: Told, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_devices, "MOST_UNASKED", 3)
    elsewhere.log_in("PHONE")

    def tell(device_id: str) -> set[str]:
        elsewhere.tell(elsewhere.log_in(device_id))
        worker.run()
        return told.changed()

    devices(alice, elsewhere.bob)
    assert [tell(name) for name in "AB"] == [{elsewhere.bob}] * 2
    devices(alice, elsewhere.bob)  # after which the count begins anew
    assert [tell(name) for name in "CDEF"] == [{elsewhere.bob}] * 3 + [set()]
    assert observers(elsewhere) == set()
    assert len(devices(alice, elsewhere.bob)) == 7
    assert tell("G") == {elsewhere.bob}


def test_who_shares_no_room_any_more_is_told_once_at_most(
    alice: Client, carol: Client, elsewhere: Elsewhere, room: Mirror, worker: Worker
) -> None:
    join(carol, room.room_id)
    elsewhere.log_in("PHONE")
    for client in (alice, carol):
        devices(client, elsewhere.bob)
    leave(carol, room.room_id)
    people = [Told(alice), Told(carol)]
    for device_id in "AB":
        elsewhere.tell(elsewhere.log_in(device_id))
        worker.run()
    assert people[0].changed() == {elsewhere.bob}
    people[1].changed()
    assert observers(elsewhere) == {alice.user_id}
    elsewhere.tell(elsewhere.log_in("C"))
    assert [who.changed() for who in people] == [{elsewhere.bob}, set()]


# -- Meeting in a room -----------------------------------------------------------------------------------


def test_who_meets_in_a_small_encrypted_room_is_told_before_they_ask(
    elsewhere: Elsewhere, room: Mirror, told: Told, worker: Worker
) -> None:
    note_newest(room)
    assert worker.run() == 0, "nothing is asked for that nobody wants to know"
    for device_id in ("PHONE", "TABLET"):
        elsewhere.tell(elsewhere.log_in(device_id))
        worker.run()
        assert told.changed() == {elsewhere.bob}


def test_a_local_user_who_joins_is_told_of_those_who_are_there(
    alice: Client, carol: Client, elsewhere: Elsewhere, room: Mirror, worker: Worker
) -> None:
    join(carol, room.room_id)
    note_newest(room)
    assert observers(elsewhere) == {carol.user_id}
    carols = Told(carol)
    elsewhere.tell(elsewhere.log_in("PHONE"))
    worker.run()
    assert carols.changed() == {elsewhere.bob}


def test_the_first_of_another_server_is_seen_where_the_state_before_is_remembered(
    alice: Client, elsewhere: Elsewhere, worker: Worker, workers: Workers
) -> None:
    """A join's log entry has the snapshot before it, which a worker may know as that of a local room."""
    room = encrypted_room(alice)
    workers.skip(room.room_id)
    head = room_items.read_head(RoomId(room.room_id))
    assert head is not None
    assert local_members.servers_at(head.room_id, head.state_root).head is None
    elsewhere.mirror = room
    assert room.kinds(room.member(elsewhere.bob, elsewhere.bob, "join")) == ["accepted"]
    assert newest_entry(room)["state_root"] == head.state_root
    note_newest(room)
    assert observers(elsewhere) == {alice.user_id}


def test_a_room_may_become_encrypted_later(
    alice: Client, elsewhere: Elsewhere, worker: Worker, workers: Workers
) -> None:
    room = share_room(alice, elsewhere)
    workers.skip(room.room_id)
    note_newest(room)
    assert observers(elsewhere) == set()
    set_state(alice, room.room_id, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
    note_newest(room)
    assert observers(elsewhere) == {alice.user_id}
    alices = Told(alice)
    elsewhere.tell(elsewhere.log_in("PHONE"))
    worker.run()
    assert alices.changed() == {elsewhere.bob}


def test_in_a_larger_room_only_who_asks_is_told(
    alice: Client, carol: Client, elsewhere: Elsewhere, room: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meeting, "SMALL_ROOM", 1)
    note_newest(room)
    join(carol, room.room_id)
    note_newest(room)
    assert observers(elsewhere) == set()
    assert remote_devices.read_lists([elsewhere.bob]) == {}
