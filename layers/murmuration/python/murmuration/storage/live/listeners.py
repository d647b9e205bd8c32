"""Listeners: one item for each user, with the waits and WebSockets to wake when the user gets updates.

A wait's attribute is `w#<slot>#<device ID>`, a socket's `s#<connection ID>`; `pushers` says that the user has
pushers. A slot is one of a device's wake queues. A registration has a nonce and is good for one ring: a
client that was rung and finds nothing registers again. Times are in seconds since the epoch.

`l#<device ID>` is the nonce of a device's last registration, and `r#<device ID>` is what has rung
since then: room IDs, or EVERYTHING. A new registration removes that, and gets it from the item as it was
before. So a client that was called looks only at those rooms (`sync.narrow_look`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Item, Storable, StoredItem, Values, Write
from murmuration.aws.reads import Read
from murmuration.clock import now_ms
from murmuration.protocol.errors import LimitExceeded
from murmuration.protocol.identifiers import DeviceId, RoomId, UserId
from murmuration.storage.live.compact.leftovers import (
    LAST,
    LIFETIME_S,
    NEWS,
    SOCKET,
    WAIT,
    leftovers_of,
    removal_of,
    traces_of,
)
from murmuration.storage.live.compact.stored_waits import (
    HAS_NONCE,
    HELD,
    IS_NOT_NOTED,
    IS_NOT_RUNG,
    IS_OVER,
    IS_OVER_OR_REPLACED,
    PARKED,
    RUNG,
    StoredWait,
    from_value,
    names,
    until_of,
)

TABLE = "listeners"
MOST_SOCKETS = 50
"""How many connections a user may have at a time."""
SOCKETS_RETRY_MS = 60_000
QUARANTINE_S = 90
"""How long a parked wait's slot stays taken after its ring was sent, which stays in its queue for 75 s."""
KEYS_LETTER = "t"
"""The prefixes of slots whose waits are rung only for keys."""
HELD_LETTER = "h"
"""The prefix of slots on which functions wait. One is free once it was rung: its reader removes the ring."""
EVERYTHING = "*"
"""The entry for rings that weren't only for a few rooms: the client has to look at everything."""
MOST_TOPICS = 8
"""The maximum number of rooms that are noted by name."""
SPARE_S = 10
"""The maximum difference between the clocks of two functions."""
_FAR_S = 4_102_444_800
"""The year 2100: the item of a user with pushers doesn't expire. The attribute `pushers` is this time."""
_EXPIRES = "expires = if_not_exists(pushers, :expires)"


@dataclass(frozen=True, slots=True)
class Wait:
    """A registration to be rung on a device's slot until a time, on a queue (a URL).

    A `kept` ring stays in the queue for every reader; any other is removed by its first reader. `late` says
    that a ring was sent for later, `rung` that the client was called. `is_last` says that it is the device's
    last registration; then `news` is what has rung since. `next_slot` is the slot for the next
    registration. `leftovers` are attributes that the next ring removes from the item.
    """

    user_id: UserId
    device_id: DeviceId
    slot: str
    queue: str
    nonce: str
    until: int
    kept: bool = False
    late: bool = False
    rung: bool = False
    is_last: bool = False
    news: frozenset[str] = frozenset()
    next_slot: str = ""
    leftovers: Mapping[str, int] = field(default_factory=dict)

    @property
    def attribute(self) -> str:
        return f"{WAIT}{self.slot}#{self.device_id}"

    @property
    def of_keys(self) -> bool:
        """Whether the client waits only for to-device messages, and changes of devices and keys."""
        return self.slot.startswith(KEYS_LETTER)

    def value(self, *, until: int | None = None, state: int | None = None) -> Storable:
        """Return the stored form of the wait."""
        now = PARKED if self.kept else HELD
        return StoredWait(
            self.until if until is None else until, self.nonce, now if state is None else state, self.queue
        ).value()


@dataclass(frozen=True, slots=True)
class Socket:
    """A connection to which updates are pushed. `late` says that a push has been ordered for later."""

    user_id: UserId
    device_id: DeviceId
    connection_id: str
    late: bool = False


def taken_slots(item: StoredItem | None, device_id: DeviceId) -> dict[str, int]:
    """Return the slots of a device that are taken now, with the time at which each becomes free."""
    now = now_ms() // 1000
    taken = {}
    for name, value in (item or {}).items():
        kind, _, owner = name.removeprefix(WAIT).partition("#")
        if not name.startswith(WAIT) or owner != device_id or until_of(value) <= now:
            continue
        if not kind.startswith(HELD_LETTER) or from_value(value).state != RUNG:
            taken[kind] = until_of(value)
    return taken


def last_queue(item: StoredItem | None, device_id: DeviceId, slot: str) -> str:
    """Return the URL of the queue on which a device's slot waited last, if the item has it; else ""."""
    value = (item or {}).get(f"{WAIT}{slot}#{device_id}")
    return from_value(value).queue if value else ""


def news_since(
    item: StoredItem | None, device_id: DeviceId, slot: str, nonce: str
) -> frozenset[RoomId] | None:
    """Return the rooms that rang for a device's registration, by the item before the next one; None for
    everything.

    It is also None if this isn't certain: the worker that rang hadn't noted it yet, the device had another
    registration in between, or the slot becomes free soon. A held client's next registration takes the same
    slot. So a worker that notes a ring too late rings that one, and there may be no news yet.
    """
    item = item or {}
    value = item.get(f"{WAIT}{slot}#{device_id}")
    if not value or item.get(LAST + device_id) != nonce:
        return None
    wait = from_value(value)
    if wait.nonce != nonce or wait.state == PARKED or wait.until <= now_ms() // 1000 + SPARE_S:
        return None
    news = frozenset(item.get(NEWS + device_id, ()))
    return None if EVERYTHING in news or (wait.state >= RUNG and not news) else news


def held_waits(item: StoredItem | None) -> int:
    """Return how many waits of a user, on all devices, functions are holding now."""
    now = now_ms() // 1000
    waits = [from_value(value) for name, value in (item or {}).items() if name.startswith(WAIT)]
    return sum(not wait.is_kept and wait.until > now for wait in waits)


def register(wait: Wait, item: StoredItem | None) -> tuple[bool, Item]:
    """Take a slot to be rung on. Returns whether that worked, and the item afterwards.

    `item` is the user's item as it was a moment ago. It fails if the slot is taken.
    """
    try:
        return True, dynamodb.execute(_registration(wait, item), returning="ALL_NEW") or {}
    except ConditionFailed as error:
        return False, error.item() or {}


def register_unseen(wait: Wait, replaced: str = "") -> tuple[bool, Item]:
    """Take a slot without reading the user's item first. Returns whether it worked, and the item before.

    `replaced` is the nonce of a held wait that may still have the slot.
    """
    try:
        return True, dynamodb.execute(_registration(wait, None, replaced), returning="ALL_OLD") or {}
    except ConditionFailed as error:
        return False, error.item() or {}


def _registration(wait: Wait, item: StoredItem | None, replaced: str = "") -> Write:
    """Return the write that takes a slot if it is free, and removes a few ended registrations of `item`."""
    now = now_ms() // 1000
    removal = removal_of(leftovers_of(item, wait.attribute))
    own = {"#last": LAST + wait.device_id, "#news": NEWS + wait.device_id}
    given = {"#wait": wait.attribute, **names("until"), **removal.names, **own}
    values: dict[str, Storable] = {
        ":wait": wait.value(),
        ":nonce": wait.nonce,
        ":expires": now + LIFETIME_S,
        ":now": now,
        **removal.values,
    }
    is_free = IS_OVER
    if not wait.kept:
        is_free = IS_OVER_OR_REPLACED
        given |= names("rung", "nonce")
        values |= {":rung": RUNG, ":replaced": replaced}
    traces = [name for name in traces_of(item) if name not in own.values()]
    given |= {f"#trace{number}": name for number, name in enumerate(traces)}
    removed = ["#news", *removal.parts, *(f"#trace{number}" for number in range(len(traces)))]
    return dynamodb.update(
        TABLE,
        {"user_id": wait.user_id},
        f"SET #wait = :wait, #last = :nonce, {_EXPIRES} REMOVE {', '.join(removed)}",
        names=given,
        values=values,
        condition=is_free + removal.condition,
        return_old=True,
    )


def _settle_one(wait: Wait, news: Collection[str]) -> bool:
    """Note that a wait has been rung, so that it isn't rung again, and for which rooms.

    Returns whether that is enough. A later registration isn't changed. The answer is False if the device has
    registered again and may not look at `news`: then ring the new registration.
    """
    if not wait.kept and not wait.is_last:
        _change(wait, "REMOVE #wait", HAS_NONCE, {}, names("nonce"))
        return True
    values: Values = {":wait": wait.value(until=now_ms() // 1000 + QUARANTINE_S, state=RUNG)}
    is_seen = True
    if wait.is_last:
        done, before = _with_news(wait, news, "SET #wait = :wait", HAS_NONCE, values, names("nonce"))
        value = before.get(wait.attribute)
        if done or not value or from_value(value).nonce != wait.nonce:
            return done
        # A client that registered before the ring was noted looks at everything, unless another ring was
        # noted.
        is_seen = from_value(value).state < RUNG
    _change(wait, "SET #wait = :wait", HAS_NONCE, values, names("nonce"))
    return is_seen


def settle(rung: Sequence[tuple[Wait, Collection[str]]]) -> list[Wait]:
    """Note that waits of one user were rung, and for which rooms each.

    That is one write if none of them has changed since it was read. Returns the waits that have to be rung
    again: their devices have registered again, and may not look at the news.
    """
    if len(rung) > 1 and all(wait.kept for wait, _ in rung):
        try:
            dynamodb.execute(_settling(rung))
        except ConditionFailed:
            pass
        else:
            return []
    return [wait for wait, news in rung if not _settle_one(wait, news)]


def _settling(rung: Sequence[tuple[Wait, Collection[str]]]) -> Write:
    """Return the write that notes that several parked waits of one user were rung."""
    changes, additions, conditions = [], [], []
    given = names("nonce")
    values: dict[str, Storable] = {}
    until = now_ms() // 1000 + QUARANTINE_S
    for number, (wait, news) in enumerate(rung):
        given[f"#wait{number}"] = wait.attribute
        values |= {f":wait{number}": wait.value(until=until, state=RUNG), f":nonce{number}": wait.nonce}
        changes.append(f"#wait{number} = :wait{number}")
        has_nonce = HAS_NONCE.replace("#wait", f"#wait{number}").replace(":nonce", f":nonce{number}")
        conditions.append(has_nonce)
        if wait.is_last:
            given |= {f"#last{number}": LAST + wait.device_id, f"#news{number}": NEWS + wait.device_id}
            values[f":news{number}"] = _bounded(wait, news)
            additions.append(f"#news{number} :news{number}")
            conditions.append(f"#last{number} = :nonce{number}")
    added = f" ADD {', '.join(additions)}" if additions else ""
    return dynamodb.update(
        TABLE,
        {"user_id": rung[0][0].user_id},
        f"SET {', '.join(changes)}{added}",
        names=given,
        values=values,
        condition=" AND ".join(conditions),
    )


def note_late(wait: Wait, at_s: int, news: Collection[str] = (EVERYTHING,)) -> bool:
    """Note that a parked wait will be rung at a later time, and for which rooms.

    Returns whether that is enough. A later registration isn't changed. The wait ends soon after that ring,
    when the client registers again. Its slot stays taken while the ring is in the queue. The answer is False
    if the device has registered again and may not look at `news`: then ring the new registration.
    """
    rests = wait.value(until=now_ms() // 1000 + QUARANTINE_S, state=at_s)
    values: Values = {":wait": rests, ":rung": RUNG}
    condition = f"{HAS_NONCE} AND {IS_NOT_RUNG}"
    if wait.is_last:
        return _with_news(wait, news, "SET #wait = :wait", condition, values, names("nonce", "rung"))[0]
    _change(wait, "SET #wait = :wait", condition, values, names("nonce", "rung"))
    return True


def note_news(wait: Wait, news: Collection[str]) -> bool:
    """Note further rooms for a client that was called already.

    Returns whether that is enough, as `note_late` does.
    """
    return _with_news(wait, news, "", "", {}, {})[0]


def _with_news(
    wait: Wait,
    news: Collection[str],
    expression: str,
    condition: str,
    values: Values,
    given: Mapping[str, str],
) -> tuple[bool, Item]:
    """Change a user's item, and note news for a device, if `wait` is still its last registration.

    The same write removes leftovers. Returns whether it succeeded, and the item as it is if it didn't.
    """
    last = "#last = :nonce"
    own = {"#last": LAST + wait.device_id, "#news": NEWS + wait.device_id}
    if expression:
        own["#wait"] = wait.attribute
    removal = removal_of(wait.leftovers)
    expression += f" ADD #news :news{' REMOVE ' if removal.parts else ''}{', '.join(removal.parts)}"
    write = dynamodb.update(
        TABLE,
        {"user_id": wait.user_id},
        expression.strip(),
        names={**given, **own, **removal.names},
        values={**values, ":nonce": wait.nonce, ":news": _bounded(wait, news), **removal.values},
        condition=(f"{condition} AND {last}" if condition else last) + removal.condition,
        return_old=True,
    )
    try:
        dynamodb.execute(write)
    except ConditionFailed as error:
        if removal.parts:
            rest = replace(wait, leftovers={})
            return _with_news(rest, news, expression.partition(" ADD ")[0], condition, values, given)
        return False, error.item() or {}
    return True, {}


def _bounded(wait: Wait, news: Collection[str]) -> frozenset[str]:
    """Return the rooms to note; EVERYTHING if they are too many."""
    return frozenset(news) if len(wait.news | set(news)) <= MOST_TOPICS else frozenset((EVERYTHING,))


def note_late_push(socket: Socket, until: int) -> None:
    """Note that a worker will look for a connection's updates at a time (in seconds).

    Ignores a closed connection.
    """
    write = dynamodb.update(
        TABLE,
        {"user_id": socket.user_id},
        "SET #socket.#late = :until",
        names={"#socket": SOCKET + socket.connection_id, "#late": "late"},
        values={":until": until},
        condition="attribute_exists(#socket)",
    )
    try:
        dynamodb.execute(write)
    except ConditionFailed:
        return


def _change(wait: Wait, expression: str, condition: str, values: Values, given: Mapping[str, str]) -> None:
    """Change the stored form of a wait, unless its condition says that another writer was quicker."""
    write = dynamodb.update(
        TABLE,
        {"user_id": wait.user_id},
        expression,
        names={"#wait": wait.attribute, **given},
        values={":nonce": wait.nonce, **values},
        condition=condition,
    )
    try:
        dynamodb.execute(write)
    except ConditionFailed:
        return


def release(wait: Wait) -> None:
    """Release a slot on which no client has waited, unless another wait has taken it meanwhile."""
    given = names("nonce", "kept", "rung", "late")
    _change(wait, "REMOVE #wait", f"{HAS_NONCE} AND {IS_NOT_NOTED}", {":parked": PARKED}, given)


def add_socket(socket: Socket, until: int) -> None:
    """Register a connection to be woken by updates, until it is removed or its time is over.

    Raises LimitExceeded if the user has too many connections. Then it is added first and removed again, so
    that the limit holds for concurrent connections too.
    """
    item = dynamodb.execute(
        dynamodb.update(
            TABLE,
            {"user_id": socket.user_id},
            f"SET #socket = :socket, {_EXPIRES}",
            names={"#socket": SOCKET + socket.connection_id},
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


def remove_socket(user_id: UserId, connection_id: str) -> None:
    dynamodb.execute(
        dynamodb.update(
            TABLE, {"user_id": user_id}, "REMOVE #socket", names={"#socket": SOCKET + connection_id}
        )
    )


def pushers_write(user_id: UserId, *, has_pushers: bool) -> Write:
    """Return a write that records whether a user has pushers."""
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


def with_pushers(items: Iterable[StoredItem]) -> frozenset[UserId]:
    """Return the users who have pushers."""
    return frozenset(item["user_id"] for item in items if "pushers" in item)


def item_read(user_id: UserId) -> Read[Item | None]:
    """Return the read of a user's listeners. The item may be a moment old, which costs half as much."""
    return Read(TABLE, {"user_id": user_id}, lambda item: item, eventual=True)


def read_items(user_ids: Collection[UserId]) -> list[Item]:
    """Return the items of these users, with consistent reads. One round trip for a hundred."""
    return dynamodb.batch_get({TABLE: [{"user_id": user_id} for user_id in user_ids]})[TABLE]


def waits_in(items: Iterable[StoredItem]) -> Iterator[Wait]:
    """Return the waits to ring."""
    return (wait for wait in current_waits(items) if not wait.rung)


def current_waits(items: Iterable[StoredItem]) -> Iterator[Wait]:
    """Return the waits to ring, and for each device the last of those that were rung."""
    now = now_ms() // 1000
    for item in items:
        is_cleared = False  # one write removes all leftovers
        for name, value in item.items():
            if not name.startswith(WAIT) or until_of(value) <= now:
                continue
            slot, _, device_id = name.removeprefix(WAIT).partition("#")
            stored = from_value(value)
            rung = stored.state == RUNG or 0 < stored.late_s <= now
            is_last = item.get(LAST + device_id) == stored.nonce
            if rung and not is_last:
                continue  # only its slot is still taken
            yield Wait(
                item["user_id"],
                DeviceId(device_id),
                slot,
                stored.queue,
                stored.nonce,
                stored.until,
                stored.is_kept,
                late=stored.state > RUNG,
                rung=rung,
                is_last=is_last,
                news=frozenset(item.get(NEWS + device_id, ())),
                leftovers=leftovers_of(item) if is_last and not is_cleared else {},
            )
            is_cleared = is_cleared or is_last


def sockets_in(items: Iterable[StoredItem]) -> Iterator[Socket]:
    """Return the connections to push to."""
    now = now_ms() // 1000
    for item in items:
        for name, value in item.items():
            if name.startswith(SOCKET) and value["until"] > now:
                late = value.get("late", 0) > now
                yield Socket(item["user_id"], value["device_id"], name.removeprefix(SOCKET), late=late)
