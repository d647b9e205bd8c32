"""How delayed events end otherwise than by being sent: with devices, accounts, and by what is lost."""

from __future__ import annotations

from typing import Any

import pytest

from murmuration.accounts.devices import remove_devices
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.protocol.identifiers import DeviceId, RoomId, UserId
from murmuration.storage.users import accounts
from murmuration.storage.users import delayed_events as storage
from tests.in_process import Client
from tests.logged_in import log_in
from tests.rooms.delayed import Time, delay_message, delay_state, end_of, listed, manage, said
from tests.rooms.people import V3, ok, path, set_state

CALL = "org.matrix.msc3401.call.member"


def test_what_was_scheduled_is_sent_after_a_logout(alice: Client, room_id: str, time: Time) -> None:
    other = log_in(UserId(alice.user_id), DeviceId("OTHER"))
    delay_id = delay_message(other, room_id, 5_000)
    ok(other.post(f"{V3}/logout"))
    assert listed(alice) == [delay_id]
    time.pass_by(6_000)
    assert said(alice, room_id) == ["later"]


def test_after_a_logout_it_can_be_restarted_and_sent(alice: Client, room_id: str, time: Time) -> None:
    other = log_in(UserId(alice.user_id), DeviceId("OTHER"))
    first, second = delay_message(other, room_id, 5_000), delay_message(other, room_id, 5_000)
    ok(other.post(f"{V3}/logout"))
    time.pass_by(3_000)
    ok(manage(alice, first, "restart"))
    ok(manage(alice, second, "send"))
    assert said(alice, room_id) == ["later"]
    time.pass_by(3_000)
    assert listed(alice) == [first]
    time.pass_by(3_000)
    assert said(alice, room_id) == ["later", "later"]


def test_a_revoked_device_leaves_behind_only_that_it_left_a_call(
    alice: Client, room_id: str, time: Time
) -> None:
    other = log_in(UserId(alice.user_id), DeviceId("OTHER"))
    key = f"_{alice.user_id}_OTHER_m.call"
    set_state(other, room_id, CALL, {"application": "m.call"}, key)
    farewell = delay_state(other, room_id, 5_000, CALL, {}, key)
    ends = [
        delay_message(other, room_id, 5_000),
        delay_state(other, room_id, 5_000, CALL, {"application": "m.call"}, key),
        delay_state(other, room_id, 5_000, "m.room.topic", {"topic": ""}),
    ]
    stays = delay_message(alice, room_id, 9_000)
    remove_devices(UserId(alice.user_id), [DeviceId("OTHER")])
    assert listed(alice) == [farewell, stays]
    assert all(set(end_of(alice, each)) == {"finalised_ts"} for each in ends)
    time.pass_by(6_000)
    assert ok(alice.get(path(room_id, "state", CALL, key))) == {}
    assert said(alice, room_id) == []


@pytest.mark.parametrize(
    ("state_key", "content", "is_farewell"),
    [
        ("@a:x", {}, True),
        ("_@a:x_D_m.call", {}, True),
        ("@a:x_D", {}, True),
        ("@a:x_D", {"left": True}, False),
        ("@a:xy", {}, False),
        ("", {}, False),
        (None, {}, False),
    ],
)
def test_what_a_farewell_is(state_key: str | None, content: dict[str, Any], is_farewell: bool) -> None:
    event = storage.DelayedEvent(
        "d", UserId("@a:x"), DeviceId("D"), RoomId("!r:x"), CALL, state_key, content, 1, 1
    )
    assert event.is_farewell == is_farewell


@pytest.mark.parametrize(
    ("flag", "errcode"), [("suspended", "M_USER_SUSPENDED"), ("locked", "M_USER_LOCKED")]
)
def test_after_a_logout_the_account_is_judged(
    alice: Client, room_id: str, time: Time, flag: str, errcode: str
) -> None:
    other = log_in(UserId(alice.user_id), DeviceId("OTHER"))
    delay_id = delay_message(other, room_id, 5_000)
    ok(other.post(f"{V3}/logout"))
    accounts.set_flag(UserId(alice.user_id), flag, True)
    time.pass_by(6_000)
    assert end_of(alice, delay_id)["error"]["errcode"] == errcode
    assert said(alice, room_id) == []


def test_a_device_that_is_gone_schedules_nothing(alice: Client, room_id: str, time: Time) -> None:
    delay_id = delay_message(alice, room_id, 5_000)
    found = storage.read_scheduled(UserId(alice.user_id), 1).events[0]
    ok(alice.post(f"{V3}/logout"))
    with pytest.raises(ConditionFailed):
        storage.schedule(storage.DelayedEvent(**{**_fields(found), "delay_id": f"{delay_id}x"}))


def test_a_suspended_or_locked_user_sends_nothing(alice: Client, room_id: str, time: Time) -> None:
    for flag, errcode in (("suspended", "M_USER_SUSPENDED"), ("locked", "M_USER_LOCKED")):
        delay_id = delay_message(alice, room_id, 5_000)
        accounts.update_device(UserId(alice.user_id), DeviceId(alice.device_id), {flag: True})
        time.pass_by(6_000)
        accounts.update_device(UserId(alice.user_id), DeviceId(alice.device_id), {flag: False})
        assert end_of(alice, delay_id)["error"]["errcode"] == errcode
    assert said(alice, room_id) == []


def test_a_closed_account_has_none(alice: Client, bob: Client, room_id: str, time: Time) -> None:
    from murmuration.accounts.management import close_account

    delay_message(alice, room_id, 5_000)
    close_account(UserId(alice.user_id))
    assert storage.read_scheduled(UserId(alice.user_id), 10).events == []
    time.pass_by(6_000)
    time.passed += 10 * 60_000
    time.look_after()
    assert time.queue == []
    assert said(bob, room_id) == []


def _fields(event: storage.DelayedEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__slots__}
