"""To-device messages: items of the receiving device's stream until the device has acknowledged them.

A request's messages are written in transactions of several devices each. Each transaction claims its part of
the request, so a repetition sends only what wasn't sent. If there are several parts, the first attempt stores
which devices they are for, because `*` may mean other devices later.

Of two concurrent requests the later one may be stored first, and get the lower number in the device's stream.
So each message has the time at which its request reached the gateway, and a reader sorts the messages that it
reads by these times. Positions use the numbers, as in any stream: a message that is stored late still comes
after the position of every reader who hasn't read it. A very recent message isn't returned yet, because an
earlier one may still be in progress. How long that takes depends on how busy the functions are. So each
message stores how long its own request took, and a reader waits as long as the slowest one that it read. Then
it reads again, and continues to wait if that finds a slower one.

A device that never syncs keeps a bounded inbox (`inboxes.py`): the oldest messages are deleted first.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws import concurrency, dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Item, StoredItem, Write
from murmuration.clock import now_ms
from murmuration.protocol.errors import TooLarge, Unavailable
from murmuration.protocol.identifiers import DeviceId, ServerName, UserId
from murmuration.storage.live import inboxes, streams
from murmuration.storage.live.inboxes import PREFIX

if TYPE_CHECKING:
    from murmuration.storage.json_types import ToDeviceEvent

TRANSACTION_DEVICES = 24
TRANSACTION_BYTES = 2_000_000
TRANSACTION_MESSAGES = 20
"""How many messages of different senders one transaction stores; each has its own claim."""
LARGE = 1_000_000
"""If requests have more characters than this in total, it is first checked which of them were carried out
before."""
PLAN_BYTES = 300_000
READ_BYTES = 1_000_000
"""How many bytes are read at once: the answer has to fit into a function's 6 MB."""
READ_AHEAD = 20
"""How many further messages are read to find an end for the answer, such that no later message was sent
before one in it."""
SETTLED_MS = 250
"""The minimum age of a message's request before the message is returned."""
SPREAD = 3
SPREAD_MS = 300
"""A message may be in progress for this many times as long as the slowest one that was read, but at most this
many milliseconds longer."""
LONGEST_MS = 2_000
"""How long a reader waits in total. Readers don't wait for a request that is older than this."""
CLAIM_SECONDS = 86_400
REMEMBERED_SECONDS = 7 * 86_400
"""How long a repeated message of another server is recognised."""
ALL_DEVICES = DeviceId("*")

Target = tuple[UserId, DeviceId]
"""A user ID and a device ID."""


@dataclass(frozen=True, slots=True)
class Sending:
    """A request to send: its name (`transaction`), the event for each device as JSON, and when it was
    received.
    """

    transaction: str
    events: Mapping[Target, str]
    received_ms: int


@dataclass(frozen=True, slots=True)
class Inbox:
    """Messages in the order in which they were sent, and the position in the stream after them."""

    events: list[ToDeviceEvent]
    position: int


# -- Sending ---------------------------------------------------------------------------------------------


def transaction_key(user_id: UserId, device_id: DeviceId, event_type: str, txn_id: str) -> str:
    """Return the name of a client's request, made of the sender's device, the type and the transaction ID."""
    scope = json.dumps([user_id, device_id, event_type, txn_id])
    return f"txn#to-device#{hashlib.sha256(scope.encode()).hexdigest()}"


def message_key(origin: ServerName, message_id: str) -> str:
    """Return the name of a message from another server, made of the server and its message ID."""
    scope = json.dumps([origin, message_id])
    return f"txn#to-device#{hashlib.sha256(scope.encode()).hexdigest()}"


def send(
    transaction: str,
    events: Mapping[Target, str],
    admit: Callable[[list[int]], None] = lambda _: None,
    *,
    received_ms: int,
    remembered_s: int = CLAIM_SECONDS,
) -> None:
    """Add each event (JSON) to its device's stream, exactly once however often this is repeated.

    The device ID `*` means all of the user's devices that aren't named; devices that don't exist get nothing.
    `admit` is called first with the number of bytes for each device, and may raise. `received_ms` is when the
    request reached the gateway. A repetition is recognised for `remembered_s`. Raises TooLarge, Unavailable,
    and what `admit` raises.
    """
    begun, targets = concurrency.gather(lambda: _read_claims(transaction), lambda: _existing(events))
    if begun is None:
        return
    sizes = {content: len(content.encode()) for content in set(events.values())}
    admit([sizes.get(_event_for(target, events) or "", 0) for target in targets])
    expires = now_ms() // 1000 + remembered_s
    chunks = begun or _agree(transaction, _chunks(targets, events), expires)
    deliveries = [
        functools.partial(
            _deliver, _claim_id(transaction, number), transaction, chunk, events, received_ms, expires
        )
        for number, chunk in enumerate(chunks)
    ]
    concurrency.parallel(*deliveries)


def send_in_order(sendings: Sequence[Sending], admit: Callable[[list[int]], None] = lambda _: None) -> None:
    """Add the events of several requests to their devices' streams, in order, each exactly once.

    Requests for few devices share a transaction, in which each has its claim. Requests that were carried out
    before are skipped. `admit` is called before each transaction with the number of bytes for each device,
    and may raise; what was stored until then stays. A request that is too large is skipped, because it would
    block the others for ever. Raises Unavailable, and what `admit` raises.
    """
    once = {sending.transaction: sending for sending in reversed(sendings)}
    sendings = [sending for sending in sendings if once[sending.transaction] is sending]
    there = _existing({target for sending in sendings for target in sending.events})
    contents = (_event_for(target, each.events) for each in sendings for target in there)
    if sum(len(content or "") for content in contents) > LARGE:
        sendings = _not_begun(sendings)
    waiting: list[tuple[Sending, list[Target]]] = []
    devices = 0
    for sending in sendings:
        targets = [target for target in there if _event_for(target, sending.events) is not None]
        is_large = len(targets) > TRANSACTION_DEVICES
        if is_large or len(waiting) == TRANSACTION_MESSAGES or devices + len(targets) > TRANSACTION_DEVICES:
            _deliver_together(waiting, admit)
            waiting, devices = [], 0
        if is_large:
            with contextlib.suppress(TooLarge):
                send(
                    sending.transaction,
                    sending.events,
                    admit,
                    received_ms=sending.received_ms,
                    remembered_s=REMEMBERED_SECONDS,
                )
        elif targets:
            waiting.append((sending, targets))
            devices += len(targets)
    _deliver_together(waiting, admit)


def _not_begun(sendings: Sequence[Sending]) -> list[Sending]:
    """Return the requests that weren't carried out before, or only in part."""
    keys = [{"id": _claim_id(sending.transaction, 0)} for sending in sendings]
    keys += [{"id": sending.transaction} for sending in sendings]
    found = {item["id"] for item in dynamodb.batch_get({"transient": keys})["transient"]}
    return [
        sending
        for sending in sendings
        if sending.transaction in found or _claim_id(sending.transaction, 0) not in found
    ]


def _deliver_together(
    sendings: Sequence[tuple[Sending, list[Target]]], admit: Callable[[list[int]], None]
) -> None:
    """Add the events and claims of these requests in one transaction. Requests whose claims are taken are
    left out.
    """
    left = list(sendings)
    if not left:
        return
    admit(
        [
            len((_event_for(target, sending.events) or "").encode())
            for sending, targets in sendings
            for target in targets
        ]
    )
    expires = now_ms() // 1000 + REMEMBERED_SECONDS
    for attempt in range(streams.ATTEMPTS):
        if not left:
            return
        by_stream: dict[str, list[Item]] = {}
        for sending, targets in left:
            for target in targets:
                by_stream.setdefault(streams.device_stream(*target), []).append(_item(sending, target))
        heads = inboxes.read_heads(list(by_stream))
        writes = [
            _claim(_claim_id(sending.transaction, 0), expires).named(sending.transaction)
            for sending, _ in left
        ]
        for stream, items in by_stream.items():
            writes += inboxes.append_writes(stream, heads[stream], items)
        try:
            dynamodb.transact(writes)
        except ConditionFailed as error:
            taken = {sending.transaction for sending, _ in left if error.refused(sending.transaction)}
            left = [each for each in left if each[0].transaction not in taken]
            if not taken:
                streams.pause(attempt)
            continue
        inboxes.trim({stream: (heads[stream], items) for stream, items in by_stream.items()})
        return
    raise Unavailable("Too many requests write to a device's inbox at once; try again")


def _item(sending: Sending, target: Target) -> Item:
    return {
        "sk": PREFIX + sending.transaction.rpartition("#")[2],
        "event": _event_for(target, sending.events),
        **_times(sending.received_ms),
    }


def _times(received_ms: int) -> dict[str, int]:
    """Return when a message's request was received, and how long it has taken so far."""
    return {"received_ms": received_ms, "took_ms": max(0, now_ms() - received_ms)}


def _claim(claim_id: str, expires: int) -> Write:
    """Return the write that claims a part of a request. It is refused if another attempt has carried out that
    part.
    """
    return dynamodb.put(
        "transient",
        {"id": claim_id, "expires": expires},
        condition="attribute_not_exists(id)",
    ).named("claim")


def _read_claims(transaction: str) -> list[list[Target]] | None:
    """Return the parts that an earlier attempt planned: [] if there was none, None if everything was sent."""
    keys = [{"id": transaction}, {"id": _claim_id(transaction, 0)}]
    items = {item["id"]: item for item in dynamodb.batch_get({"transient": keys})["transient"]}
    if transaction in items:
        return _from_plan(items[transaction])
    return None if items else []


def _claim_id(transaction: str, number: int) -> str:
    return f"{transaction}#{number}"


def _existing(events: Collection[Target]) -> list[Target]:
    """Return those devices of `events` that exist. One round trip."""
    everywhere = sorted({user_id for user_id, device_id in events if device_id == ALL_DEVICES})
    named = [target for target in events if target[1] != ALL_DEVICES and target[0] not in everywhere]
    keys = [{"user_id": user_id, "sk": f"device#{device_id}"} for user_id, device_id in named]
    found = concurrency.parallel(
        lambda: dynamodb.batch_get({"users": keys})["users"] if keys else [],
        *(functools.partial(_devices_of, user_id) for user_id in everywhere),
    )
    return sorted((item["user_id"], item["sk"].removeprefix("device#")) for items in found for item in items)


def _devices_of(user_id: UserId) -> list[dynamodb.Item]:
    return dynamodb.query(
        "users",
        "user_id = :user AND begins_with(sk, :prefix)",
        {":user": user_id, ":prefix": "device#"},
        attributes=("user_id", "sk"),
    )


def _event_for(target: Target, events: Mapping[Target, str]) -> str | None:
    return events.get(target, events.get((target[0], ALL_DEVICES)))


def _chunks(targets: Sequence[Target], events: Mapping[Target, str]) -> list[list[Target]]:
    chunks: list[list[Target]] = []
    size = 0
    for target in targets:
        event_size = len((_event_for(target, events) or "").encode())
        if not chunks or len(chunks[-1]) == TRANSACTION_DEVICES or size + event_size > TRANSACTION_BYTES:
            chunks.append([])
            size = 0
        chunks[-1].append(target)
        size += event_size
    return chunks


def _agree(transaction: str, chunks: list[list[Target]], expires: int) -> list[list[Target]]:
    """Return the parts that every attempt sends: `chunks`, or those of an attempt that was quicker."""
    if len(chunks) < 2:
        return chunks
    plan = json.dumps(chunks)
    if len(plan) > PLAN_BYTES:
        raise TooLarge("The message is for too many devices: send it to fewer at a time")
    item = {"id": transaction, "plan": plan, "expires": expires}
    try:
        dynamodb.execute(
            dynamodb.put("transient", item, condition="attribute_not_exists(id)", return_old=True)
        )
    except ConditionFailed as error:
        return _from_plan(error.item() or {})
    return chunks


def _from_plan(item: StoredItem) -> list[list[Target]]:
    return [[(user_id, device_id) for user_id, device_id in chunk] for chunk in json.loads(item["plan"])]


def _deliver(
    claim_id: str,
    transaction: str,
    targets: Sequence[Target],
    events: Mapping[Target, str],
    received_ms: int,
    expires: int,
) -> None:
    """Add the events of some devices and the claim in one transaction, unless the claim is taken."""
    by_stream = {
        streams.device_stream(*target): event for target in targets if (event := _event_for(target, events))
    }
    claim = _claim(claim_id, expires)
    key = PREFIX + transaction.rpartition("#")[2]
    for attempt in range(streams.ATTEMPTS):
        times = _times(received_ms)
        items = {stream: [{"sk": key, "event": event, **times}] for stream, event in by_stream.items()}
        heads = inboxes.read_heads(list(by_stream))
        writes = [claim]
        for stream, of_stream in items.items():
            writes += inboxes.append_writes(stream, heads[stream], of_stream)
        try:
            dynamodb.transact(writes)
        except ConditionFailed as error:
            if error.refused("claim"):
                return
            streams.pause(attempt)
            continue
        inboxes.trim({stream: (heads[stream], of_stream) for stream, of_stream in items.items()})
        return
    raise Unavailable("Too many requests write to a device's inbox at once; try again")


# -- Receiving -------------------------------------------------------------------------------------------


def read(
    user_id: UserId, device_id: DeviceId, after_seq: int, limit: int, *, head: int | None = None
) -> Inbox:
    """Return up to `limit` messages after `after_seq`, of about `READ_BYTES`, and the position after them.

    They are in the order in which their requests reached the gateway. While an earlier message may still be
    in progress, this waits and reads once more, for two round trips each time and at most `LONGEST_MS` in
    total. It doesn't wait for later messages that can be left for the next time.

    `head` is the newest number in the device's stream, if known: later messages are left for the next time,
    because a query may see only the second of two new ones. After a wait it continues to read, but not past
    other items such as key counts: the caller may have read those before.
    """
    stream = streams.device_stream(user_id, device_id)
    if head is None:
        head = streams.read_head(stream)
    if head <= after_seq:
        return Inbox([], after_seq)
    most, known, waited_ms = limit + READ_AHEAD, head, 0
    items = streams.read_after(stream, after_seq, limit=most)
    while len(items) < most and waited_ms < LONGEST_MS and (left_ms := _unsettled_ms(items)):
        time.sleep(left_ms / 1000)
        waited_ms += left_ms
        head = streams.read_head(stream)
        items = streams.read_after(stream, after_seq, limit=most)
        others = [item["seq"] for item in items if item["seq"] > known and "event" not in item]
        head = min([head, *(seq - 1 for seq in others)])
        if settled := _settled(items):
            head = min(head, items[settled - 1]["seq"])
            break
    found = [item for item in items if item["seq"] <= head]
    first = found[: _cut(found, limit)]
    is_all = len(first) == len(found) and len(items) < most
    position = head if is_all else first[-1]["seq"]
    messages = sorted((item for item in first if "event" in item), key=_received_ms)
    return Inbox([json.loads(item["event"]) for item in messages], position)


def _received_ms(item: StoredItem) -> int:
    """Return when a message was sent; 0 for old messages without a time."""
    return int(item.get("received_ms", 0))


def _unsettled_ms(items: Sequence[dynamodb.Item]) -> int:
    """Return for how many milliseconds to wait until no earlier message than these can be in progress.

    It is 0 if there is no need. A time in the future is wrong, and isn't waited for.
    """
    now = now_ms()
    young = [item for item in items if 0 <= now - _received_ms(item) < LONGEST_MS]
    if not young:
        return 0
    slowest_ms = max(int(item.get("took_ms", 0)) for item in young)
    spread_ms = min(SPREAD * slowest_ms, slowest_ms + SPREAD_MS)
    return max(0, max(map(_received_ms, young)) + max(SETTLED_MS, spread_ms) - now)


def _settled(items: Sequence[dynamodb.Item]) -> int:
    """Return how many of the first items may be returned, because no earlier message can come after them.

    Such a message is neither in progress nor among the other items. 0 if none may be returned.
    """
    for count in range(len(items), 0, -1):
        first, rest = items[:count], [item for item in items[count:] if "event" in item]
        newest_ms = max(map(_received_ms, first))
        if not _unsettled_ms(first) and all(newest_ms <= _received_ms(item) for item in rest):
            return count
    return 0


def _cut(items: Sequence[dynamodb.Item], limit: int) -> int:
    """Return how many items to return: up to `limit`, as many as fit into `READ_BYTES`, and at least one.

    If possible, all messages among them were sent before all others.
    """
    most = min(limit, _fitting(items))
    times = [_received_ms(item) for item in items if "event" in item]
    if most == len(items) or len(times) < len(items):
        return most
    for count in range(most, 0, -1):
        if max(times[:count]) <= min(times[count:]):
            return count
    return most


def _fitting(items: Sequence[dynamodb.Item]) -> int:
    size = 0
    for number, item in enumerate(items):
        size += len(item.get("event", ""))
        if size > READ_BYTES and number > 0:
            return number
    return len(items)


def acknowledge(user_id: UserId, device_id: DeviceId, up_to_seq: int) -> None:
    """Delete the messages up to `up_to_seq`: the device has them."""
    stream = streams.device_stream(user_id, device_id)
    items = dynamodb.query(
        streams.TABLE,
        "stream_id = :stream AND seq <= :seq",
        {":stream": stream, ":seq": up_to_seq},
        index="by-seq",
        attributes=("sk",),
    )
    keys = [item["sk"] for item in items if item["sk"].startswith(PREFIX)]
    dynamodb.batch_write([dynamodb.delete(streams.TABLE, {"stream_id": stream, "sk": key}) for key in keys])
