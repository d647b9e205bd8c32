"""Requests to DynamoDB for encryption and EDUs across servers."""

from __future__ import annotations

from typing import Any

import pytest

from murmuration.federation.devices import messages, updates
from murmuration.federation.devices.lists import look_up
from murmuration.federation.ephemera import sending, taking
from murmuration.protocol.identifiers import RoomId, ServerName, UserId
from murmuration.settings import settings
from murmuration.storage.keys.remote_devices import RemoteDevices
from tests.budgets.meter import Meter, Spent
from tests.federation.devices.elsewhere import Elsewhere
from tests.federation.devices.test_ephemera import receipt_edu, type_edu
from tests.federation.devices.test_tracking import devices
from tests.federation.peers import Worker
from tests.in_process import Client
from tests.rooms.other_servers import Mirror
from tests.rooms.people import send


@pytest.fixture(autouse=True)
def _limits_on(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn on rate limits, as in a deployment."""
    monkeypatch.setenv("MURMURATION_RATE_LIMITS", "on")
    settings.cache_clear()


def within(spent: Spent, trips: int, reads: float, writes: float) -> bool:
    return spent.round_trips <= trips and spent.read_units <= reads and spent.write_units <= writes


def test_an_update_of_somebody_whom_nobody_tracks(elsewhere: Elsewhere, room: Mirror) -> None:
    update = elsewhere.log_in("PHONE")
    with Meter() as meter:
        updates.take_device_updates(ServerName(elsewhere.name), [update])
    assert within(meter.spent, 1, 1, 0), str(meter.spent)


def test_a_question_about_tracked_users(alice: Client, elsewhere: Elsewhere, room: Mirror) -> None:
    elsewhere.log_in("PHONE")
    devices(alice, elsewhere.bob)
    with Meter() as meter:
        found, _ = look_up(UserId(str(alice.user_id)), {elsewhere.name: {elsewhere.bob: []}}, 5)
    assert set(RemoteDevices.decode(found[UserId(elsewhere.bob)]).devices) == {"PHONE"}
    assert within(meter.spent, 1, 2, 0), str(meter.spent)


def test_an_update_that_follows(alice: Client, elsewhere: Elsewhere, room: Mirror, worker: Worker) -> None:
    elsewhere.log_in("PHONE")
    devices(alice, elsewhere.bob)
    elsewhere.tell(elsewhere.log_in("TABLET"))
    worker.run()
    devices(alice, elsewhere.bob)
    update = elsewhere.log_in("LAPTOP")
    with Meter() as meter:
        updates.take_device_updates(ServerName(elsewhere.name), [update])
    # The list, its observers; for the one observer: their stream, and their dismissal.
    assert within(meter.spent, 7, 5, 11), str(meter.spent)


def test_messages_that_come_in(alice: Client, elsewhere: Elsewhere) -> None:
    def take() -> Spent:
        contents = [elsewhere.message({alice.user_id: {"ALICE": {"n": number}}}) for number in range(20)]
        with Meter() as meter:
            messages.take_messages(ServerName(elsewhere.name), contents)
        return meter.spent

    take()
    # A limit, the devices, their streams' heads, one transaction.
    assert within(spent := take(), 4, 25, 130), str(spent)


def test_typing_where_nobody_waits(elsewhere: Elsewhere, room: Mirror) -> None:
    content = type_edu(room, elsewhere.bob)
    taking.take_typing(ServerName(elsewhere.name), [content])
    with Meter() as meter:
        taking.take_typing(ServerName(elsewhere.name), [content])
    assert within(meter.spent, 3, 3, 0), str(meter.spent)


def test_a_receipt_of_anothers_event_in_a_larger_room(
    elsewhere: Elsewhere, room: Mirror, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere.send(event := room.message(UserId(elsewhere.bob), "not ours"))
    worker.run()
    content = receipt_edu(room, elsewhere.bob, event.event_id)
    monkeypatch.setattr(taking, "RECEIPTS_ROOM", 1)
    taking.take_receipts(ServerName(elsewhere.name), [content])
    with Meter() as meter:
        taking.take_receipts(ServerName(elsewhere.name), [content])
    # The room's head, the member, the event's place, its entry.
    assert within(meter.spent, 4, 4, 0), str(meter.spent)


def test_a_receipt_in_a_large_room(
    alice: Client, elsewhere: Elsewhere, room: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = receipt_edu(room, elsewhere.bob, send(alice, room.room_id))
    monkeypatch.setattr(taking, "LARGE_ROOM", 1)
    taking.take_receipts(ServerName(elsewhere.name), [content])
    with Meter() as meter:
        taking.take_receipts(ServerName(elsewhere.name), [content])
    assert within(meter.spent, 1, 1, 0), str(meter.spent)


def test_a_receipt_of_ours_costs_one_look_at_the_room(room: Mirror) -> None:
    sending.servers_in(RoomId(room.room_id))
    sending.forget()
    with Meter() as meter:
        sending.servers_in(RoomId(room.room_id))
        sending.servers_in(RoomId(room.room_id))
    assert within(meter.spent, 1, 1, 0), str(meter.spent)
