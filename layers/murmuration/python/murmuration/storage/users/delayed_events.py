"""Delayed events: events that this server sends later on behalf of users (table `parked`).

A hash of the user's ID names the partition of the user's events. A delay ID begins with that name, so the ID
alone leads to its item, without revealing the user. A scheduled event has `due_ms`, by which the index
`by-due` finds it. A finalised one has `finalised_ms` instead, and expires.

A second partition has one small item for each scheduled event. Through these a worker finds events whose
message in the queue was lost.
"""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Item, Storable, StoredItem, Write
from murmuration.aws.reads import Read, fetch_all
from murmuration.clock import now_ms
from murmuration.storage import counts
from murmuration.storage.parked import BY_DUE, TABLE, read_due
from murmuration.storage.users.accounts import USERS, check_device

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Content, JsonObject
    from murmuration.protocol.identifiers import DeviceId, EventId, RoomId, UserId

MOST = 100
"""How many events a user may have scheduled at once."""
RETENTION_MS = 7 * 86_400_000
"""How long a finalised event can be looked up."""
GRACE_MS = 60_000
"""How long after its time an event's message counts as lost."""
WATCH_INTERVAL_MS = 5 * 60_000
DELAYED, DEVICE = "delayed", "device"
"""The names of the write that changes an event, and of the check that its device exists."""
_WATCHED = "delayed-events"
_KIND = "delayed_events"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a delayed event ended: sent (`event_id`), failed (`error`), or else cancelled."""

    at_ms: int
    event_id: EventId | None = None
    error: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class DelayedEvent:
    """An event to be sent `delay_ms` after `since_ms`, when it was scheduled or last restarted.

    `state_key` is None for a message event. `outcome` is None while the event is scheduled.
    """

    delay_id: str
    user_id: UserId
    device_id: DeviceId
    room_id: RoomId
    type: str
    state_key: str | None
    content: Content
    delay_ms: int
    since_ms: int
    outcome: Outcome | None = None

    @property
    def due_ms(self) -> int:
        """When the event is to be sent, in milliseconds."""
        return self.since_ms + self.delay_ms

    @property
    def is_farewell(self) -> bool:
        """Whether it only removes state about its own user, as at the end of a call."""
        if self.state_key is None or self.content:
            return False
        key = self.state_key.removeprefix("_")
        return key == self.user_id or key.startswith(f"{self.user_id}_")


@dataclass(frozen=True, slots=True)
class Page:
    """Scheduled events in the order of their times; `more` says that others follow."""

    events: list[DelayedEvent]
    more: bool


class TooMany(Exception):
    """The user has as many scheduled events as are allowed."""


def make_delay_id(user_id: UserId, secret: bytes) -> str:
    """Return the delay ID for a user's event, made from a secret that nobody can guess."""
    return f"{_partition(user_id)}.{_encode(secret)}"


def is_of(user_id: UserId, delay_id: str) -> bool:
    """Return whether a delay ID belongs to the user."""
    return delay_id.partition(".")[0] == _partition(user_id)


# -- Reading ---------------------------------------------------------------------------------------------


def delayed_read(delay_id: str) -> Read[DelayedEvent | None]:
    """Return the read of a delayed event, scheduled or finalised."""
    return Read(TABLE, _key(delay_id), _from_item)


def read_scheduled(user_id: UserId, limit: int, after: tuple[int, str] | None = None) -> Page:
    """Return scheduled events of a user; `after` is the time and the ID of the last one already returned."""
    start = {**_key(after[1]), "due_ms": after[0]} if after is not None else None
    page = dynamodb.query_page(
        TABLE,
        "pk = :pk",
        {":pk": _pk(_partition(user_id))},
        index=BY_DUE,
        limit=limit,
        after=start,
    )
    return Page([event for item in page.items if (event := _from_item(item))], page.more is not None)


def _read_all_scheduled(user_id: UserId) -> list[DelayedEvent]:
    items = dynamodb.query(TABLE, "pk = :pk", {":pk": _pk(_partition(user_id))}, index=BY_DUE)
    return [event for item in items if (event := _from_item(item))]


# -- Changing --------------------------------------------------------------------------------------------


def schedule(event: DelayedEvent) -> DelayedEvent:
    """Store an event and return it; if the request was repeated, return the stored one.

    Raises TooMany, and ConditionFailed with the name DEVICE if the event's device is gone.
    """
    item: Item = {
        **_key(event.delay_id),
        "user_id": event.user_id,
        "device_id": event.device_id,
        "room_id": event.room_id,
        "type": event.type,
        "content": json.dumps(event.content, separators=(",", ":"), ensure_ascii=False),
        "delay_ms": event.delay_ms,
        "since_ms": event.since_ms,
        "due_ms": event.due_ms,
    }
    if event.state_key is not None:
        item["state_key"] = event.state_key
    new = "attribute_not_exists(sk)"
    writes = [
        dynamodb.put(TABLE, item, condition=new, return_old=True).named(DELAYED),
        _watch_write(event.delay_id, event.due_ms),
        counts.count_write(USERS, _counts_key(event.user_id), _KIND, MOST),
        check_device(event.user_id, event.device_id),
    ]
    try:
        dynamodb.transact(writes)
    except ConditionFailed as error:
        if (earlier := _from_item(error.item(DELAYED))) is not None:
            return earlier
        if error.refused(counts.COUNT) and not error.refused(DEVICE):
            raise TooMany from error
        raise
    return event


def restart(event: DelayedEvent) -> bool:
    """Restart an event's delay. Returns False if it isn't scheduled any more."""
    now = now_ms()
    write = dynamodb.update(
        TABLE,
        _key(event.delay_id),
        "SET since_ms = :now, due_ms = :due",
        values={":now": now, ":due": now + event.delay_ms},
        condition="attribute_exists(due_ms)",
    )
    return dynamodb.try_execute(write)


def finalise_writes(event: DelayedEvent, outcome: Outcome, *, unless_restarted: bool = False) -> list[Write]:
    """Return the writes that end an event. The one named DELAYED is refused if it has ended already.

    With `unless_restarted` it is also refused if the event was restarted since it was read.
    """
    values: dict[str, Storable] = {
        ":at": outcome.at_ms,
        ":expires": (outcome.at_ms + RETENTION_MS) // 1000,
    }
    sets = ["finalised_ms = :at", "expires = :expires"]
    if outcome.event_id is not None:
        sets.append("event_id = :event")
        values[":event"] = outcome.event_id
    if outcome.error is not None:
        sets.append("#error = :error")
        values[":error"] = json.dumps(outcome.error)
    condition = "attribute_exists(due_ms)"
    if unless_restarted:
        condition += " AND since_ms = :since"
        values[":since"] = event.since_ms
    return [
        dynamodb.update(
            TABLE,
            _key(event.delay_id),
            f"SET {', '.join(sets)} REMOVE due_ms",
            values=values,
            names={"#error": "error"} if outcome.error is not None else None,
            condition=condition,
        ).named(DELAYED),
        counts.uncount_write(USERS, _counts_key(event.user_id), _KIND),
        dynamodb.delete(TABLE, _watch_key(event.delay_id)),
    ]


def finalise(event: DelayedEvent, outcome: Outcome, *, unless_restarted: bool = False) -> bool:
    """End an event without sending it. Returns False if it has ended or was restarted."""
    try:
        dynamodb.transact(finalise_writes(event, outcome, unless_restarted=unless_restarted))
    except ConditionFailed:
        return False
    return True


def cancel_of_devices(user_id: UserId, device_ids: Collection[DeviceId]) -> None:
    """Cancel the events that were scheduled on these devices, except those with `is_farewell`."""
    for event in _read_all_scheduled(user_id):
        if event.device_id in device_ids and not event.is_farewell:
            finalise(event, Outcome(now_ms()))


def purge(user_id: UserId) -> None:
    """Delete all events of a user whose devices are gone."""
    found = dynamodb.query(TABLE, "pk = :pk", {":pk": _pk(_partition(user_id))}, attributes=("pk", "sk"))
    dynamodb.batch_write([dynamodb.delete(TABLE, key) for key in found])


# -- Watching --------------------------------------------------------------------------------------------


def read_watched(limit: int) -> Page:
    """Return scheduled events that are due for a check, and delete the items that watch ended ones."""
    items = read_due(_WATCHED, limit)
    delay_ids = [str(item["sk"]) for item in items]
    found = dict(zip(delay_ids, fetch_all([delayed_read(each) for each in delay_ids]), strict=True))
    ended = [each for each, event in found.items() if event is None or event.outcome is not None]
    dynamodb.batch_write([dynamodb.delete(TABLE, _watch_key(each)) for each in ended])
    scheduled = [event for event in found.values() if event is not None and event.outcome is None]
    return Page(scheduled, more=len(items) == limit)


def watch_again(event: DelayedEvent) -> None:
    """Make an event that is still scheduled be checked again later."""
    write = dynamodb.update(
        TABLE,
        _watch_key(event.delay_id),
        "SET due_ms = :due",
        values={":due": _watch_time(event.due_ms)},
        condition="attribute_exists(due_ms)",
    )
    dynamodb.try_execute(write)


def _watch_write(delay_id: str, due_ms: int) -> Write:
    return dynamodb.put(TABLE, {**_watch_key(delay_id), "due_ms": _watch_time(due_ms)})


def _watch_time(due_ms: int) -> int:
    return max(due_ms + GRACE_MS, now_ms() + WATCH_INTERVAL_MS)


# -- Items -----------------------------------------------------------------------------------------------


def _from_item(item: Item | None) -> DelayedEvent | None:
    if item is None or "delay_ms" not in item:
        return None
    if "expires" in item and int(item["expires"]) * 1000 <= now_ms():
        return None
    return DelayedEvent(
        delay_id=item["sk"],
        user_id=item["user_id"],
        device_id=item["device_id"],
        room_id=item["room_id"],
        type=item["type"],
        state_key=item.get("state_key"),
        content=json.loads(item["content"]),
        delay_ms=int(item["delay_ms"]),
        since_ms=int(item["since_ms"]),
        outcome=_outcome(item),
    )


def _outcome(item: StoredItem) -> Outcome | None:
    if "finalised_ms" not in item:
        return None
    error = item.get("error")
    return Outcome(int(item["finalised_ms"]), item.get("event_id"), json.loads(error) if error else None)


def _partition(user_id: UserId) -> str:
    return _encode(hashlib.sha256(user_id.encode()).digest()[:12])


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _pk(partition: str) -> str:
    return f"delayed#{partition}"


def _key(delay_id: str) -> dict[str, str]:
    return {"pk": _pk(delay_id.partition(".")[0]), "sk": delay_id}


def _watch_key(delay_id: str) -> dict[str, str]:
    return {"pk": _WATCHED, "sk": delay_id}


def _counts_key(user_id: UserId) -> dict[str, str]:
    return {"user_id": user_id, "sk": counts.SK}
