"""Administrators look at accounts, lock and suspend them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from murmuration.accounts.login import begin_session
from murmuration.accounts.management import close_account, set_admin
from murmuration.accounts.sessions import SessionRequest
from murmuration.protocol.errors import UserLocked
from murmuration.protocol.identifiers import DeviceId, UserId
from murmuration.storage.users import accounts
from tests.in_process import Client, segment
from tests.rooms.people import (
    V1,
    V3,
    create_room,
    invite,
    join,
    leave,
    ok,
    path,
    redact,
    refused,
    send,
    set_state,
)

Make = Callable[..., Client]
PROFILE = "displayname"


@pytest.fixture
def admin(make_client: Make) -> Client:
    made = make_client("admin")
    set_admin(UserId(made.user_id), True)
    return made


def put(client: Client, kind: str, user_id: str, on: bool) -> Any:
    name = {"lock": "locked", "suspend": "suspended"}[kind]
    return client.put(f"{V1}/admin/{kind}/{segment(user_id)}", {name: on})


def get(client: Client, kind: str, user_id: str) -> Any:
    return client.get(f"{V1}/admin/{kind}/{segment(user_id)}")


def test_a_locked_account_can_log_out_only(admin: Client, alice: Client) -> None:
    assert ok(get(admin, "lock", alice.user_id)) == {"locked": False}
    assert ok(put(admin, "lock", alice.user_id, True)) == {"locked": True}
    assert ok(get(admin, "lock", alice.user_id)) == {"locked": True}
    for answer in (
        alice.get(f"{V3}/sync"),
        alice.get(f"{V3}/account/whoami"),
        alice.put(path("!room:example.org", "send", "m.room.message", "t"), {}),
    ):
        refused(answer, 401, "M_USER_LOCKED")
        assert answer.json["soft_logout"] is True
    assert ok(put(admin, "lock", alice.user_id, False)) == {"locked": False}
    ok(alice.get(f"{V3}/account/whoami"))
    put(admin, "lock", alice.user_id, True)
    ok(alice.post(f"{V3}/logout"))
    assert accounts.read_devices(UserId(alice.user_id)) == []


def test_nobody_logs_in_to_a_locked_account(admin: Client, alice: Client) -> None:
    ok(put(admin, "lock", alice.user_id, True))
    request = SessionRequest(DeviceId("NEW"), None, False, "127.0.0.1")
    with pytest.raises(UserLocked):
        begin_session(UserId(alice.user_id), request, [])


def test_a_lock_during_a_login_finds_the_new_device(
    admin: Client, alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from murmuration.accounts import sessions

    original = sessions.begin_write

    def lock_first(*arguments: Any, **options: Any) -> Any:
        ok(put(admin, "lock", alice.user_id, True))
        return original(*arguments, **options)

    monkeypatch.setattr(sessions, "begin_write", lock_first)
    begin_session(UserId(alice.user_id), SessionRequest(DeviceId("NEW"), None, False, ""), [])
    device = accounts.read_device(UserId(alice.user_id), DeviceId("NEW"))
    assert device is not None
    assert device["locked"] is True


def test_a_suspended_user_reads_and_leaves_but_does_not_speak(
    admin: Client, alice: Client, make_client: Make
) -> None:
    bob = make_client("bob")
    room_id = create_room(bob, preset="public_chat")
    join(alice, room_id)
    event_id, bobs = send(alice, room_id), send(bob, room_id)
    levels = ok(bob.get(path(room_id, "state", "m.room.power_levels", "")))
    set_state(bob, room_id, "m.room.power_levels", {**levels, "users_default": 50})
    other = create_room(bob, preset="public_chat")
    invited = create_room(bob)
    invite(bob, invited, alice)
    assert ok(put(admin, "suspend", alice.user_id, True)) == {"suspended": True}
    name = f"{V3}/profile/{segment(alice.user_id)}/{PROFILE}"
    for answer in (
        alice.put(path(room_id, "send", "m.room.message", "x"), {"msgtype": "m.text", "body": "x"}),
        alice.put(path(room_id, "state", "m.room.topic"), {"topic": "x"}),
        alice.put(path(room_id, "redact", bobs, "y"), {}),
        alice.post(path(other, "join")),
        alice.post(f"{V3}/join/{segment(invited)}"),
        alice.post(path(room_id, "invite"), {"user_id": admin.user_id}),
        alice.post(f"{V3}/createRoom", {}),
        alice.put(name, {PROFILE: "x"}),
    ):
        refused(answer, 403, "M_USER_SUSPENDED")
    ok(alice.get(f"{V3}/sync"))
    ok(alice.get(path(room_id, "messages"), dir="b"))
    redact(alice, room_id, event_id)
    leave(alice, room_id)
    leave(alice, invited)
    assert ok(put(admin, "suspend", alice.user_id, False)) == {"suspended": False}
    join(alice, other)
    send(alice, other)


@pytest.mark.parametrize("kind", ["lock", "suspend"])
def test_whom_one_may_not(kind: str, admin: Client, alice: Client, make_client: Make) -> None:
    second = make_client("second")
    set_admin(UserId(second.user_id), True)
    closed = make_client("closed")
    close_account(UserId(closed.user_id))
    for call in (get, functools.partial(put, on=True)):
        refused(call(alice, kind, "@nobody:example.org"), 403, "M_FORBIDDEN")
        refused(call(admin, kind, second.user_id), 403, "M_FORBIDDEN")
        refused(call(admin, kind, "@nobody:example.org"), 404, "M_NOT_FOUND")
        refused(call(admin, kind, closed.user_id), 404, "M_NOT_FOUND")
        refused(call(admin, kind, "@somebody:elsewhere.org"), 400, "M_INVALID_PARAM")
    refused(put(admin, kind, admin.user_id, True), 403, "M_FORBIDDEN")
    refused(admin.put(f"{V1}/admin/{kind}/{segment(alice.user_id)}", {}), 400, "M_MISSING_PARAM")


def test_capabilities_tell_administrators(admin: Client, alice: Client) -> None:
    def told(client: Client) -> Any:
        return ok(client.get(f"{V3}/capabilities"))["capabilities"].get("m.account_moderation")

    assert told(admin) == {"lock": True, "suspend": True}
    assert told(alice) is None


def test_who_is(admin: Client, alice: Client) -> None:
    address = f"{V3}/admin/whois/{segment(alice.user_id)}"
    for client in (alice, admin):
        found = ok(client.get(address))
        assert found["user_id"] == alice.user_id
        ((session,),) = (device["sessions"] for device in found["devices"].values())
        assert session["connections"][0]["ip"] == alice.source_ip
    refused(alice.get(f"{V3}/admin/whois/{segment(admin.user_id)}"), 403, "M_FORBIDDEN")
    refused(admin.get(f"{V3}/admin/whois/@nobody:example.org"), 404, "M_NOT_FOUND")
