"""Listeners: one item a user, with the waits and WebSockets that are told of the user's news.

A wait's attribute is `w#<slot>#<device ID>`, a socket's `s#<connection ID>`; `pushers` says that the user has
pushers. A slot is one of a device's wake queues. A registration has a nonce and is good for one ring: a
client that was rung and finds nothing registers again. Times are in seconds since the epoch.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from murmuration.aws import dynamodb, queues
from murmuration.aws.dynamodb import Attributes, ConditionFailed, Item, Storable, StoredItem, Values, Write
from murmuration.aws.reads import Read
from murmuration.clock import now_ms
from murmuration.protocol.errors import LimitExceeded

TABLE = "listeners"
LIFETIME_S = 10_800
"""How long an item stays after its last change: longer than anyone waits without registering again."""
MOST_SOCKETS = 50
"""How many connections a user may have at a time."""
SOCKETS_RETRY_MS = 60_000
QUARANTINE_S = 90
"""How long a parked wait's slot stays taken after its ring was ordered, which its queue keeps for 75 s."""
_WAIT, _SOCKET = "w#", "s#"
_FAR_S = 4_102_444_800
"""2100: an item of a user with pushers doesn't expire. The attribute `pushers` is this time."""
_EXPIRES = "expires = if_not_exists(pushers, :expires)"


@dataclass(frozen=True, slots=True)
class Wait:
    """A registration to be rung on a device's slot until a time, on a queue (a URL).

    A `kept` ring stays in the queue for every reader; another is removed by its first reader. `late` says
    that a ring has been ordered for later.
    """

    user_id: str
    device_id: str
    slot: str
    queue: str
    nonce: str
    until: int
    kept: bool = False
    late: bool = False

    @property
    def attribute(self) -> str:
        return f"{_WAIT}{self.slot}#{self.device_id}"


@dataclass(frozen=True, slots=True)
class Socket:
    """A connection that updates are pushed to; `late` says that a push has been ordered for later."""

    user_id: str
    device_id: str
    connection_id: str
    late: bool = False


def taken_slots(item: StoredItem | None, device_id: str) -> dict[str, int]:
    """Return the slots of a device that are taken now, with the time at which each becomes free."""
    now = now_ms() // 1000
    taken = {}
    for name, value in (item or {}).items():
        kind, _, owner = name.removeprefix(_WAIT).partition("#")
        if name.startswith(_WAIT) and owner == device_id and value["until"] > now:
            taken[kind] = int(value["until"])
    return taken


def last_queue(item: StoredItem | None, device_id: str, slot: str) -> str:
    """Return the URL of the queue on which a device's slot waited last, as far as the item tells; else ""."""
    value = (item or {}).get(f"{_WAIT}{slot}#{device_id}")
    return _url(value["queue"]) if value else ""


def _stored(url: str) -> str:
    """Return what is stored of a queue's URL: only its name, if the URL follows from that."""
    name = url.rpartition("/")[2]
    return name if queues.url_of_name(name) == url else url


def _url(stored: str) -> str:
    return stored if "/" in stored else queues.url_of_name(stored)


def _leftovers(item: StoredItem | None, but: str) -> dict[str, int]:
    """Registrations that ended long ago, a few: of devices that are gone."""
    before = now_ms() // 1000 - LIFETIME_S
    old = {
        name: int(value["until"])
        for name, value in (item or {}).items()
        if name.startswith((_WAIT, _SOCKET)) and name != but and value["until"] < before
    }
    return dict(list(old.items())[:4])


def held_waits(item: StoredItem | None) -> int:
    """Return how many waits of a user, on all devices, functions are holding now."""
    now = now_ms() // 1000
    return sum(
        name.startswith(_WAIT) and not value["kept"] and value["until"] > now
        for name, value in (item or {}).items()
    )


def register(wait: Wait, item: StoredItem | None) -> tuple[bool, Item]:
    """Take a slot to be rung on. Return whether that worked, and the item afterwards.

    `item` is the user's item as it was a moment ago. It fails if the slot is taken.
    """
    try:
        return True, dynamodb.execute(_registration(wait, item), returning="ALL_NEW") or {}
    except ConditionFailed as error:
        return False, error.item() or {}


def register_unseen(wait: Wait) -> tuple[bool, Item]:
    """Take a slot without reading the user's item first. Return whether it worked, and the item before."""
    try:
        return True, dynamodb.execute(_registration(wait, None), returning="ALL_OLD") or {}
    except ConditionFailed as error:
        return False, error.item() or {}


def _registration(wait: Wait, item: StoredItem | None) -> Write:
    """Return the write that takes a slot if it is free, and removes a few ended registrations in `item`."""
    now = now_ms() // 1000
    value: Attributes = {
        "queue": _stored(wait.queue),
        "nonce": wait.nonce,
        "until": wait.until,
        "kept": wait.kept,
    }
    names = {"#wait": wait.attribute, "#until": "until"}
    values: dict[str, Storable] = {":wait": value, ":expires": now + LIFETIME_S, ":now": now}
    expression = f"SET #wait = :wait, {_EXPIRES}"
    condition = "(attribute_not_exists(#wait) OR #wait.#until <= :now)"
    for number, (name, until) in enumerate(_leftovers(item, wait.attribute).items()):
        expression += f"{',' if number else ' REMOVE'} #old{number}"
        condition += f" AND #old{number}.#until = :until{number}"
        names[f"#old{number}"], values[f":until{number}"] = name, until
    return dynamodb.update(
        TABLE,
        {"user_id": wait.user_id},
        expression,
        names=names,
        values=values,
        condition=condition,
        return_old=True,
    )


def new_nonce() -> str:
    """Return a new registration's name. It contains the time, so that `is_later` can compare two names."""
    return f"{now_ms():014d}{secrets.token_urlsafe(6)}"


def is_later(nonce: str, than: str) -> bool:
    """Return whether a registration was made after another."""
    return nonce[:14] >= than[:14] and nonce != than


def settle(wait: Wait) -> None:
    """Note that a wait has been rung, so that it isn't rung again. A later registration isn't touched."""
    names = {"#wait": wait.attribute, "#nonce": "nonce"}
    values: dict[str, Storable] = {":nonce": wait.nonce}
    expression = "REMOVE #wait"
    if wait.kept:
        names |= {"#until": "until", "#rung": "rung"}
        expression = "SET #wait.#until = :until, #wait.#rung = :rung"
        values |= {":until": now_ms() // 1000 + QUARANTINE_S, ":rung": True}
    _change(wait.user_id, expression, names=names, values=values, condition="#wait.#nonce = :nonce")


def note_late(wait: Wait) -> None:
    """Note that a parked wait will be rung later. A later registration isn't touched.

    The wait ends soon after that ring, when the client registers again. Its slot stays taken while the ring
    is in the queue.
    """
    _change(
        wait.user_id,
        "SET #wait.#until = :until, #wait.#late = :late",
        names={
            "#wait": wait.attribute,
            "#nonce": "nonce",
            "#until": "until",
            "#late": "late",
            "#rung": "rung",
        },
        values={":nonce": wait.nonce, ":until": now_ms() // 1000 + QUARANTINE_S, ":late": True},
        condition="#wait.#nonce = :nonce AND attribute_not_exists(#wait.#rung)",
    )


def note_late_push(socket: Socket, until: int) -> None:
    """Note that a worker will look for a connection's updates at a time (seconds).

    Ignores a closed connection.
    """
    _change(
        socket.user_id,
        "SET #socket.#late = :until",
        names={"#socket": _SOCKET + socket.connection_id, "#late": "late"},
        values={":until": until},
        condition="attribute_exists(#socket)",
    )


def _change(
    user_id: str, expression: str, *, names: Mapping[str, str], values: Values, condition: str
) -> None:
    """Change a user's item, unless its condition says that somebody was quicker."""
    try:
        dynamodb.execute(
            dynamodb.update(
                TABLE, {"user_id": user_id}, expression, names=names, values=values, condition=condition
            )
        )
    except ConditionFailed:
        return


def release(wait: Wait) -> None:
    """Give up a slot that nobody has waited on, unless a later registration has it."""
    _change(
        wait.user_id,
        "REMOVE #wait",
        names={"#wait": wait.attribute, "#nonce": "nonce", "#rung": "rung", "#late": "late"},
        values={":nonce": wait.nonce},
        condition="#wait.#nonce = :nonce AND attribute_not_exists(#wait.#rung)"
        " AND attribute_not_exists(#wait.#late)",
    )


def add_socket(socket: Socket, until: int) -> None:
    """Have a connection told of what comes from now on, until it is removed or until a time.

    Raises LimitExceeded for one connection too many. It is added first and taken out again, so that the bound
    holds for concurrent connections.
    """
    item = dynamodb.execute(
        dynamodb.update(
            TABLE,
            {"user_id": socket.user_id},
            f"SET #socket = :socket, {_EXPIRES}",
            names={"#socket": _SOCKET + socket.connection_id},
            values={
                ":socket": {"device_id": socket.device_id, "until": until},
                ":expires": now_ms() // 1000 + LIFETIME_S,
            },
        ),
        returning="ALL_NEW",
    )
    if len(list(sockets_in([item or {}]))) > MOST_SOCKETS:
        remove_socket(socket.user_id, socket.connection_id)
        raise LimitExceeded(f"A user may have {MOST_SOCKETS} connections", retry_after_ms=SOCKETS_RETRY_MS)


def remove_socket(user_id: str, connection_id: str) -> None:
    dynamodb.execute(
        dynamodb.update(
            TABLE, {"user_id": user_id}, "REMOVE #socket", names={"#socket": _SOCKET + connection_id}
        )
    )


def pushers_write(user_id: str, *, has_pushers: bool) -> Write:
    """Return a write that notes whether a user has pushers."""
    if has_pushers:
        return dynamodb.update(
            TABLE, {"user_id": user_id}, "SET pushers = :far, expires = :far", values={":far": _FAR_S}
        )
    return dynamodb.update(
        TABLE,
        {"user_id": user_id},
        "SET expires = :expires REMOVE pushers",
        values={":expires": now_ms() // 1000 + LIFETIME_S},
    )


def with_pushers(items: Iterable[StoredItem]) -> frozenset[str]:
    """Return the users who have pushers."""
    return frozenset(item["user_id"] for item in items if "pushers" in item)


def item_read(user_id: str) -> Read[Item | None]:
    """Read a user's listeners. The item may be a moment old; that costs half as much."""
    return Read(TABLE, {"user_id": user_id}, lambda item: item, eventual=True)


def read_items(user_ids: Collection[str]) -> list[Item]:
    """Return the items of these users, consistently. One round trip for a hundred."""
    return dynamodb.batch_get({TABLE: [{"user_id": user_id} for user_id in user_ids]})[TABLE]


def waits_in(items: Iterable[StoredItem]) -> Iterator[Wait]:
    """Return the waits to ring."""
    now = now_ms() // 1000
    for item in items:
        for name, value in item.items():
            if name.startswith(_WAIT) and value["until"] > now and not value.get("rung"):
                slot, _, device_id = name.removeprefix(_WAIT).partition("#")
                yield Wait(
                    item["user_id"],
                    device_id,
                    slot,
                    _url(value["queue"]),
                    value["nonce"],
                    value["until"],
                    value["kept"],
                    late=bool(value.get("late")),
                )


def sockets_in(items: Iterable[StoredItem]) -> Iterator[Socket]:
    """Return the connections to push to."""
    now = now_ms() // 1000
    for item in items:
        for name, value in item.items():
            if name.startswith(_SOCKET) and value["until"] > now:
                connection_id = name.removeprefix(_SOCKET)
                yield Socket(
                    item["user_id"], value["device_id"], connection_id, late=value.get("late", 0) > now
                )
