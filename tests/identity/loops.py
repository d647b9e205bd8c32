"""The requests with the highest costs, for tests that repeat them quickly."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from murmuration.aws import dynamodb
from murmuration.protocol.identifiers import DeviceId, UserId
from murmuration.storage.users.accounts import device_key
from tests.in_process import Answer, Client, segment
from tests.rooms.people import V3, create_room, ok, path

MakeClient = Callable[..., Client]
DEVICES = 93
_numbers = itertools.count(1)
KEY = {"first_message_index": 0, "forwarded_count": 0, "is_verified": False}


@dataclass(frozen=True)
class Loop:
    """A loop's name, and a function that sets its stage: the user, and the request to repeat."""

    name: str
    prepare: Callable[[MakeClient], tuple[Client, Callable[[], Answer]]]


def _own(user: Client, *rest: str) -> str:
    return "/".join([f"{V3}/user/{segment(user.user_id)}", *rest])


def to_device(make_client: MakeClient) -> tuple[Client, Callable[[], Answer]]:
    user, other = make_client(), make_client()
    devices = [
        {**device_key(UserId(other.user_id), DeviceId(f"D{number}")), "access_hash": "x"}
        for number in range(DEVICES)
    ]
    dynamodb.batch_write([dynamodb.put("users", device) for device in devices])
    body = {"messages": {other.user_id: {"*": {"x": "x" * 64_000}}}}
    return user, lambda: user.put(f"{V3}/sendToDevice/m.x/{next(_numbers)}", body)


def backup_keys(make_client: MakeClient) -> tuple[Client, Callable[[], Answer]]:
    user = make_client()
    made = user.post(f"{V3}/room_keys/version", {"algorithm": "m.x", "auth_data": {}})
    key = {**KEY, "session_data": {"x": "x" * 63_000}}

    def send() -> Answer:
        sessions = {f"s{next(_numbers)}": key for _ in range(60)}
        body = {"rooms": {"!r:example.org": {"sessions": sessions}}}
        return user.put(f"{V3}/room_keys/keys", body, version=ok(made)["version"])

    return user, send


def one_time_keys(make_client: MakeClient) -> tuple[Client, Callable[[], Answer]]:
    user = make_client()

    def send() -> Answer:
        keys = {f"curve25519:{next(_numbers)}": "x" * 40 for _ in range(50)}
        return user.post(f"{V3}/keys/upload", {"one_time_keys": keys})

    return user, send


def account_data(make_client: MakeClient) -> tuple[Client, Callable[[], Answer]]:
    user = make_client()
    content = {"x": "x" * 64_000}
    return user, lambda: user.put(_own(user, "account_data", f"m.x{next(_numbers)}"), content)


def tags(make_client: MakeClient) -> tuple[Client, Callable[[], Answer]]:
    user = make_client()
    room = segment("!r:example.org")
    return user, lambda: user.put(_own(user, "rooms", room, "tags", f"u.{next(_numbers) % 90}"), {})


def filters(make_client: MakeClient) -> tuple[Client, Callable[[], Answer]]:
    user = make_client()

    def send() -> Answer:
        definition = {"room": {"rooms": [f"!{next(_numbers)}{'x' * 200}:example.org" for _ in range(200)]}}
        return user.post(_own(user, "filter"), definition)

    return user, send


def push_rules(make_client: MakeClient) -> tuple[Client, Callable[[], Answer]]:
    user = make_client()
    rules = f"{V3}/pushrules/global/content"
    body = {"actions": ["notify"], "pattern": "x" * 1000}
    return user, lambda: user.put(f"{rules}/r{next(_numbers)}", body)


def device_name(make_client: MakeClient) -> tuple[Client, Callable[[], Answer]]:
    user = make_client()
    for number in range(5):
        create_room(user, name=f"Room {number}")
    where = f"{V3}/devices/{user.device_id}"
    return user, lambda: user.put(where, {"display_name": f"Phone {next(_numbers)}"})


def typing(make_client: MakeClient) -> tuple[Client, Callable[[], Answer]]:
    user = make_client()
    where = path(create_room(user), "typing", user.user_id)
    return user, lambda: user.put(where, {"typing": True, "timeout": 30_000 + next(_numbers)})


def receipts(make_client: MakeClient) -> tuple[Client, Callable[[], Answer]]:
    user = make_client()
    room = create_room(user)
    send = path(room, "send", "m.room.message")
    events = [
        ok(user.put(f"{send}/{next(_numbers)}", {"msgtype": "m.text", "body": "x"}))["event_id"]
        for _ in range(6)
    ]
    left = iter(events)
    return user, lambda: user.post(path(room, "receipt", "m.read", next(left)))


def aliases(make_client: MakeClient) -> tuple[Client, Callable[[], Answer]]:
    user = make_client()
    room = create_room(user)

    def send() -> Answer:
        alias = segment(f"#{user.user_id[1:].partition(':')[0]}-{next(_numbers)}:example.org")
        return user.put(f"{V3}/directory/room/{alias}", {"room_id": room})

    return user, send


def directory_list(make_client: MakeClient) -> tuple[Client, Callable[[], Answer]]:
    user = make_client()
    where = f"{V3}/directory/list/room/{segment(create_room(user))}"
    kinds = itertools.cycle(("public", "private"))
    return user, lambda: user.put(where, {"visibility": next(kinds)})


def openid(make_client: MakeClient) -> tuple[Client, Callable[[], Answer]]:
    user = make_client()
    return user, lambda: user.post(_own(user, "openid", "request_token"))


def initial_sync(make_client: MakeClient) -> tuple[Client, Callable[[], Answer]]:
    user = make_client()
    for number in range(10):
        create_room(user, name=f"Room {number}")
    return user, lambda: user.get(f"{V3}/sync")


def messages(make_client: MakeClient) -> tuple[Client, Callable[[], Answer]]:
    user = make_client()
    send = path(create_room(user), "send", "m.room.message")
    return user, lambda: user.put(f"{send}/{next(_numbers)}", {"msgtype": "m.text", "body": "x" * 50_000})


def who_am_i(make_client: MakeClient) -> tuple[Client, Callable[[], Answer]]:
    """Return the cheapest loop, whose only cost is the request itself."""
    user = make_client()
    return user, lambda: user.get(f"{V3}/account/whoami")


LOOPS = tuple(
    Loop(prepare.__name__, prepare)
    for prepare in (
        to_device, backup_keys, one_time_keys, account_data, tags, filters, push_rules, device_name, typing,
        receipts, aliases, directory_list, openid, initial_sync, messages, who_am_i,
    )
)  # fmt: skip
