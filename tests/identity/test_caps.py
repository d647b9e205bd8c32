"""Bounds on how many things of each kind a user or a room may have, also for concurrent requests."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from murmuration import account_data as tags
from murmuration.accounts import devices
from murmuration.accounts.login import begin_session
from murmuration.accounts.sessions import SessionRequest
from murmuration.clock import now_ms
from murmuration.identity import rate_limits
from murmuration.identity.rate_limits import LIMITS
from murmuration.protocol.errors import LimitExceeded, TooLarge
from murmuration.protocol.identifiers import DeviceId, RoomId, UserId
from murmuration.protocol.push_rules import ruleset
from murmuration.rooms.ephemeral import receipts
from murmuration.settings import settings
from murmuration.storage.keys import key_backups
from murmuration.storage.live import listeners
from murmuration.storage.live.listeners import Socket
from murmuration.storage.rooms import directory
from murmuration.storage.users import account_data, accounts, filters
from tests.in_process import Client, segment
from tests.logged_in import log_in
from tests.rooms.people import V3, create_room, ok, path, refused

Make = Callable[..., Client]
pytestmark = pytest.mark.usefixtures("deployment")
ROOM = segment("!r:example.org")
MOST = 3


def own(user: Client, *rest: str) -> str:
    return "/".join([f"{V3}/user/{segment(user.user_id)}", *rest])


def too_many(first: Callable[[int], object], more: Callable[[int], object]) -> None:
    """Check that three can be made and a fourth is refused, while an existing one can be changed."""
    for number in range(MOST):
        ok(first(number))  # type: ignore[arg-type]
    refused(more(MOST), 413, "M_TOO_LARGE")  # type: ignore[arg-type]
    ok(first(0))  # type: ignore[arg-type]


def test_filters(make_client: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(filters, "MOST", MOST)
    user = make_client()

    def define(number: int) -> object:
        return user.post(own(user, "filter"), {"room": {"timeline": {"limit": number + 1}}})

    too_many(define, define)


def test_account_data(make_client: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(account_data, "MOST", MOST)
    user = make_client()

    def write(number: int) -> object:
        if number % 2:
            return user.put(own(user, "rooms", ROOM, "account_data", f"m.x{number}"), {})
        return user.put(own(user, "account_data", f"m.x{number}"), {})

    too_many(write, write)
    refused(user.put(own(user, "rooms", ROOM, "tags", "u.x"), {}), 413, "M_TOO_LARGE")


def test_account_data_that_is_written_at_once(make_client: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(account_data, "MOST", MOST)
    user = make_client()
    with ThreadPoolExecutor(6) as pool:
        statuses = list(
            pool.map(lambda number: user.put(own(user, "account_data", f"m.x{number}"), {}).status, range(6))
        )
    assert sorted(statuses) == [200] * MOST + [413] * (6 - MOST)


def test_tags(make_client: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tags, "MAX_TAGS", MOST)
    user = make_client()

    def tag(number: int) -> object:
        return user.put(own(user, "rooms", ROOM, "tags", f"u.{number}"), {})

    too_many(tag, tag)


def test_push_rules(make_client: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ruleset, "MAX_RULES", MOST)
    user = make_client()

    def rule(number: int) -> object:
        kind = ("content", "override")[number % 2]
        body: dict[str, object] = {"actions": []}
        body["pattern" if kind == "content" else "conditions"] = "x" if kind == "content" else []
        return user.put(f"{V3}/pushrules/global/{kind}/r{number}", body)

    too_many(rule, rule)


def test_backups(make_client: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(key_backups, "MOST_VERSIONS", MOST)
    user = make_client()
    body = {"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {"x": "y"}}
    versions = [ok(user.post(f"{V3}/room_keys/version", body))["version"] for _ in range(MOST)]
    refused(user.post(f"{V3}/room_keys/version", body), 413, "M_TOO_LARGE")
    ok(user.delete(f"{V3}/room_keys/version/{versions[-1]}"))
    assert ok(user.get(f"{V3}/room_keys/version"))["version"] == versions[-2]
    mark = key_backups.read_version(UserId(user.user_id), int(versions[-1]))
    assert mark is not None
    assert (mark.deleted, mark.auth_data) == (True, {}), "a mark is small"


def test_aliases_of_a_room(make_client: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(directory, "MOST_ALIASES", MOST)
    user = make_client()
    room_id, name = RoomId(create_room(user)), user.user_id[1:].partition(":")[0]

    def alias(number: int) -> str:
        return f"{V3}/directory/room/" + segment(f"#{name}-{number}:example.org")

    for number in range(MOST):
        ok(user.put(alias(number), {"room_id": room_id}))
    refused(user.put(alias(MOST), {"room_id": room_id}), 413, "M_TOO_LARGE")
    assert user.put(alias(0), {"room_id": room_id}).status == 409
    ok(user.delete(alias(0)))
    ok(user.put(alias(MOST), {"room_id": room_id}))
    assert len(directory.read_room_aliases(room_id)) == MOST


@pytest.mark.parametrize("receipt_type", ["m.read", "m.read.private"])
def test_receipts_by_thread(receipt_type: str, make_client: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(receipts, "MOST", MOST)
    user = make_client()
    room_id = create_room(user)
    send = path(room_id, "send", "m.room.message")
    roots = [
        ok(user.put(f"{send}/{number}", {"msgtype": "m.text", "body": "x"}))["event_id"]
        for number in range(MOST + 1)
    ]

    def reply(number: int, name: str) -> str:
        relation = {"rel_type": "m.thread", "event_id": roots[number]}
        answer = user.put(
            f"{send}/{name}{number}", {"msgtype": "m.text", "body": "y", "m.relates_to": relation}
        )
        return str(ok(answer)["event_id"])

    def mark(number: int, event_id: str) -> object:
        return user.post(path(room_id, "receipt", receipt_type, event_id), {"thread_id": roots[number]})

    events = [reply(number, "a") for number in range(MOST + 1)]
    for number in range(MOST):
        ok(mark(number, events[number]))  # type: ignore[arg-type]
    refused(mark(MOST, events[MOST]), 413, "M_TOO_LARGE")  # type: ignore[arg-type]
    ok(mark(0, reply(0, "b")))  # type: ignore[arg-type]
    ok(user.post(path(room_id, "receipt", receipt_type, events[MOST])))


def test_connections(make_client: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(listeners, "MOST_SOCKETS", MOST)
    user, until = make_client(), now_ms() // 1000 + 600

    def add(number: int) -> bool:
        try:
            listeners.add_socket(Socket(UserId(user.user_id), DeviceId(user.device_id), f"c{number}"), until)
        except LimitExceeded:
            return False
        return True

    assert [add(number) for number in range(MOST + 1)] == [True] * MOST + [False]
    listeners.remove_socket(UserId(user.user_id), "c0")
    assert add(9)
    assert len(list(listeners.sockets_in(listeners.read_items([UserId(user.user_id)])))) == MOST


def test_openid_tokens(make_client: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MURMURATION_RATE_LIMITS", "on")
    settings.cache_clear()
    now = now_ms()
    monkeypatch.setattr(rate_limits, "now_ms", lambda: now)
    user = make_client()
    try:
        statuses = [
            user.post(own(user, "openid", "request_token")).status
            for _ in range(LIMITS["openid_token"].burst + 1)
        ]
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert statuses == [200] * LIMITS["openid_token"].burst + [429]


def test_bytes_of_account_data(make_client: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(account_data, "MOST_BYTES", 1_000)
    user = make_client()

    def put(name: str, size: int, *within: str):
        return user.put(own(user, *within, "account_data", name), {"a": "x" * (size - 8)})

    ok(put("m.a", 400))
    ok(put("m.b", 400, "rooms", ROOM))
    refused(put("m.c", 201), 413, "M_TOO_LARGE")
    ok(put("m.c", 200))
    refused(put("m.a", 401), 413, "M_TOO_LARGE")
    ok(put("m.a", 400))
    ok(put("m.b", 100, "rooms", ROOM))
    ok(put("m.a", 700))
    refused(user.put(own(user, "rooms", ROOM, "tags", "m.favourite"), {"order": 0.5}), 413, "M_TOO_LARGE")
    assert len(ok(user.get(own(user, "account_data", "m.a")))["a"]) == 692


def test_bytes_of_account_data_that_are_written_at_once(make_client: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(account_data, "MOST_BYTES", 1_000)
    user = make_client()
    with ThreadPoolExecutor(4) as pool:
        work = [
            pool.submit(user.put, own(user, "account_data", f"m.{number % 2}"), {"a": "x" * (92 + number)})
            for number in range(12)
        ]
    assert {each.result().status for each in work} == {200}
    sizes = [len(ok(user.get(own(user, "account_data", f"m.{number}")))["a"]) + 8 for number in range(2)]
    left = 1_000 - sum(sizes)
    refused(user.put(own(user, "account_data", "m.more"), {"a": "x" * (left - 7)}), 413, "M_TOO_LARGE")
    ok(user.put(own(user, "account_data", "m.more"), {"a": "x" * (left - 8)}))


DAY_MS = 86_400_000


def devices_of(user_id: UserId) -> list[str]:
    return [accounts.device_id_of(item) for item in accounts.read_devices(user_id)]


def test_a_login_too_many_ends_what_was_unused_for_longest(
    make_client: Make, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(devices, "MOST", MOST)
    user_id = UserId(make_client().user_id)
    now = now_ms()
    for name, days in (("OLD", 40), ("OLDER", 50)):
        log_in(user_id, DeviceId(name))
        accounts.update_device(user_id, DeviceId(name), {"last_seen_ms": now - days * DAY_MS})
    accounts.update_device(user_id, DeviceId("DEVICE"), {"last_seen_ms": now})
    begin = SessionRequest(DeviceId("NEW"), None, False, "198.51.100.1")
    begin_session(user_id, begin, [accounts.check_active(user_id)])
    assert devices_of(user_id) == ["DEVICE", "NEW", "OLD"]
    begin_session(user_id, begin, [accounts.check_active(user_id)])
    assert devices_of(user_id) == ["DEVICE", "NEW", "OLD"], "a device that is there is none more"
    accounts.update_device(user_id, DeviceId("OLD"), {"last_seen_ms": now - 29 * DAY_MS})
    with pytest.raises(TooLarge):
        begin_session(user_id, SessionRequest(None, None, False, ""), [accounts.check_active(user_id)])
    assert devices_of(user_id) == ["DEVICE", "NEW", "OLD"], "what is used isn't ended"


def test_more_devices_than_there_may_be_are_taken_back(make_client: Make, monkeypatch: pytest.MonkeyPatch):
    user_id = UserId(make_client().user_id)
    for number in range(6):
        log_in(user_id, DeviceId(f"OLD{number}"))
        accounts.update_device(user_id, DeviceId(f"OLD{number}"), {"last_seen_ms": 1_000 + number})
    monkeypatch.setattr(devices, "MOST", MOST)
    begin_session(user_id, SessionRequest(DeviceId("NEW"), None, False, ""), [accounts.check_active(user_id)])
    assert len(devices_of(user_id)) == MOST
    assert "NEW" in devices_of(user_id)
