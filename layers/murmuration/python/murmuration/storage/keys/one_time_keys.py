"""One-time and fallback keys: items of the table `keys`, counted by the item `otk` of the device's stream.

    otk#<device>#<algorithm>#<order>#<key ID>    one-time keys; `order` is when they were uploaded
    fallback#<device>#<algorithm>                fallback keys

Every change of a device's keys moves its item `otk` in the same transaction, under a condition. So the counts
are exact, a waiting sync is told, and of two concurrent changes the later one starts from the result of the
other. A key that is given out leaves a mark in the table `transient`: if its upload is repeated afterwards,
it isn't taken for a new one, and so is never given out again.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from murmuration.aws import concurrency, dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Item, StoredItem, Write
from murmuration.clock import now_ms
from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.errors import InvalidParam, TooLarge, Unavailable
from murmuration.protocol.identifiers import DeviceId, UserId
from murmuration.storage.live import streams
from murmuration.storage.users import accounts

if TYPE_CHECKING:
    from murmuration.storage.json_types import KeyCountsSection

T = TypeVar("T")

TABLE = "keys"
COUNTS_KEY = "otk"
CLAIMED_SECONDS = 30 * 86_400
UPLOAD_LIMIT = 80
"""How many one-time keys one transaction stores."""
MOST_KEYS, MOST_ALGORITHMS = 5_000, 16
"""How many one-time keys a device may have at a time. An upload reads all of them, and a sync returns their
counts."""
FALLBACK_LIMIT = 16
"""How many fallback keys an upload may have: they are stored in one transaction with the first
one-time keys."""


class DeviceGone(Exception):
    """The device was logged out meanwhile. Keys stored now would never be deleted."""


KeyId = tuple[str, str]
"""An algorithm, and the key's name in that algorithm."""


@dataclass(frozen=True, slots=True)
class KeyCounts:
    """How many one-time keys are left by algorithm, and the algorithms with an unused fallback key."""

    one_time: dict[str, int] = field(default_factory=dict)
    unused_fallback: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _State:
    """The position of a device's stream and its counts when a change began."""

    head: int
    counts: KeyCounts
    seq: int | None

    def writes(self, stream: str, counts: KeyCounts) -> list[Write]:
        """Return the writes that set the counts. They are refused if the counts have changed."""
        item = {
            "sk": COUNTS_KEY,
            "one_time": counts.one_time,
            "unused_fallback": sorted(counts.unused_fallback),
        }
        head_write, _ = streams.append_writes(stream, self.head, [item])
        counts_write = dynamodb.put(
            streams.TABLE,
            {**item, "stream_id": stream, "seq": self.head + 1},
            condition="attribute_not_exists(sk)" if self.seq is None else "seq = :seq",
            values=None if self.seq is None else {":seq": self.seq},
        )
        return [head_write, counts_write]


def counts_of(item: StoredItem | None) -> KeyCounts:
    """Return the counts in an item `otk` of a device's stream."""
    return KeyCounts(dict(item["one_time"]), list(item["unused_fallback"])) if item else KeyCounts()


def newest_counts(items: Iterable[StoredItem]) -> dict[tuple[UserId, DeviceId], KeyCounts]:
    """Return the newest counts among new items of streams, by user and device."""
    newest: dict[str, StoredItem] = {}
    for item in items:
        if item.get("sk") == COUNTS_KEY and "one_time" in item:
            known = newest.get(item["stream_id"])
            if known is None or known["seq"] < item["seq"]:
                newest[item["stream_id"]] = item
    found = {}
    for item in newest.values():
        user_id, _, device_id = streams.owner_of(item)[1].partition("/")
        found[UserId(user_id), DeviceId(device_id)] = counts_of(item)
    return found


def shown(counts: KeyCounts) -> KeyCountsSection:
    """Return the section of /sync about a device's key counts."""
    return {
        "device_one_time_keys_count": counts.one_time,
        "device_unused_fallback_key_types": sorted(counts.unused_fallback),
    }


def read_counts(user_id: UserId, device_id: DeviceId) -> KeyCounts:
    """Return a device's counts. One read."""
    return counts_of(streams.get(streams.device_stream(user_id, device_id), COUNTS_KEY))


# -- Uploading -------------------------------------------------------------------------------------------


def upload(
    user_id: UserId, device_id: DeviceId, one_time: Mapping[KeyId, Any], fallback: Mapping[KeyId, Any]
) -> KeyCounts:
    """Store keys (JSON values), and return the device's counts afterwards. Known keys aren't changed.

    Raises InvalidParam if another one-time key with the same ID is stored or there are too many fallback
    keys; TooLarge, DeviceGone, Unavailable.
    """
    if len(fallback) > FALLBACK_LIMIT:
        raise InvalidParam(f"An upload may have {FALLBACK_LIMIT} fallback keys")
    counts = KeyCounts()
    one_time_ids, fallback_left = list(one_time), dict(fallback)
    while one_time_ids or fallback_left:
        chunk, one_time_ids = one_time_ids[:UPLOAD_LIMIT], one_time_ids[UPLOAD_LIMIT:]
        change = functools.partial(
            _upload_chunk, user_id, device_id, {key: one_time[key] for key in chunk}, fallback_left
        )
        counts = _retry(change)
        fallback_left = {}
    return counts


def _upload_chunk(
    user_id: UserId, device_id: DeviceId, one_time: Mapping[KeyId, Any], fallback: Mapping[KeyId, Any]
) -> KeyCounts:
    stream = streams.device_stream(user_id, device_id)
    state = _read_state(stream)
    # Read after the state: if something changes in between, the transaction's condition refuses the write.
    stored, marks, old_fallback = _read_for_upload(user_id, device_id, list(one_time))
    new = {
        key: value for key, value in one_time.items() if _is_new(key, value, stored.get(key), marks.get(key))
    }
    new_fallback = {
        key: value for key, value in fallback.items() if not _is_kept(key, value, old_fallback.get(key[0]))
    }
    totals: dict[str, int] = {}
    for algorithm, _ in (*stored, *new):
        totals[algorithm] = totals.get(algorithm, 0) + 1
    unused = {item["algorithm"] for item in old_fallback.values() if not item["used"]}
    counts = KeyCounts(totals, sorted(unused | {algorithm for algorithm, _ in new_fallback}))
    if not new and not new_fallback and counts == state.counts:
        return counts
    if new and (len(stored) + len(new) > MOST_KEYS or len(totals) > MOST_ALGORITHMS):
        raise TooLarge(f"A device may have {MOST_KEYS} one-time keys, of {MOST_ALGORITHMS} algorithms")
    algorithms = old_fallback.keys() | {algorithm for algorithm, _ in new_fallback}
    if new_fallback and len(algorithms) > FALLBACK_LIMIT:
        raise TooLarge(f"A device may have fallback keys of {FALLBACK_LIMIT} algorithms")
    order = f"{state.head + 1:012}"
    puts = [_one_time_put(user_id, device_id, order, key, value) for key, value in new.items()]
    puts += [_fallback_put(user_id, device_id, key, value) for key, value in new_fallback.items()]
    device_key = accounts.device_key(user_id, device_id)
    device = dynamodb.check(accounts.USERS, device_key, "attribute_exists(user_id)").named("device")
    try:
        dynamodb.transact([device, *state.writes(stream, counts), *puts], patient=False)
    except ConditionFailed as error:
        if error.refused("device"):
            raise DeviceGone from error
        raise
    return counts


def _read_for_upload(
    user_id: UserId, device_id: DeviceId, keys: Sequence[KeyId]
) -> tuple[dict[KeyId, Item], dict[KeyId, str], dict[str, Item]]:
    """Return the stored one-time keys, the marks of keys that were given out, and the fallback keys by
    algorithm.
    """
    marks = {_mark_id(user_id, device_id, key): key for key in keys}
    stored, marked, fallback = concurrency.parallel(
        functools.partial(_query, user_id, f"otk#{device_id}#"),
        lambda: dynamodb.batch_get({"transient": [{"id": mark} for mark in marks]})["transient"],
        functools.partial(_query, user_id, f"fallback#{device_id}#"),
    )
    return (
        {(item["algorithm"], item["key_id"]): item for item in stored},
        {marks[item["id"]]: item["digest"] for item in marked},
        {item["algorithm"]: item for item in fallback},
    )


def _is_new(key: KeyId, value: object, stored: Item | None, mark: str | None) -> bool:
    """Return whether a one-time key has to be stored. Raises InvalidParam."""
    if stored is None:
        return mark != _digest(value)
    if _digest(json.loads(stored["key"])) != _digest(value):
        raise InvalidParam(f"A one-time key {':'.join(key)} exists already with another value")
    return False


def _is_kept(key: KeyId, value: object, stored: Item | None) -> bool:
    """Return whether a fallback key is the stored one: a repeated upload doesn't change whether it
    was used.
    """
    return (
        stored is not None
        and stored["key_id"] == key[1]
        and _digest(json.loads(stored["key"])) == _digest(value)
    )


def _one_time_put(user_id: UserId, device_id: DeviceId, order: str, key: KeyId, value: object) -> Write:
    algorithm, key_id = key
    return dynamodb.put(
        TABLE,
        {
            "user_id": user_id,
            "sk": f"otk#{device_id}#{algorithm}#{order}#{key_id}",
            "algorithm": algorithm,
            "key_id": key_id,
            "key": canonical_json.encode(value, strict=False).decode(),
        },
    )


def _fallback_put(user_id: UserId, device_id: DeviceId, key: KeyId, value: object) -> Write:
    algorithm, key_id = key
    return dynamodb.put(
        TABLE,
        {
            **_fallback_key(user_id, device_id, algorithm),
            "algorithm": algorithm,
            "key_id": key_id,
            "key": canonical_json.encode(value, strict=False).decode(),
            "used": False,
        },
    )


def _fallback_key(user_id: UserId, device_id: DeviceId, algorithm: str) -> dict[str, str]:
    return {"user_id": user_id, "sk": f"fallback#{device_id}#{algorithm}"}


def _digest(value: object) -> str:
    """Return a digest of a key without its signatures, which differ between repeated uploads."""
    if isinstance(value, dict):
        value = {name: each for name, each in value.items() if name not in ("signatures", "unsigned")}
    return hashlib.sha256(canonical_json.encode(value, strict=False)).hexdigest()


def _mark_id(user_id: UserId, device_id: DeviceId, key: KeyId) -> str:
    name = hashlib.sha256(json.dumps([user_id, device_id, *key]).encode()).hexdigest()
    return f"claimed-key#{name}"


# -- Claiming --------------------------------------------------------------------------------------------


def claim(user_id: UserId, device_id: DeviceId, algorithm: str) -> tuple[str, Any] | None:
    """Remove a device's oldest one-time key and return (key ID, value), or else return its fallback key.

    Returns None if the device has neither. Raises Unavailable.
    """
    return _retry(functools.partial(_claim, user_id, device_id, algorithm))


def _claim(user_id: UserId, device_id: DeviceId, algorithm: str) -> tuple[str, Any] | None:
    stream = streams.device_stream(user_id, device_id)
    reads: list[Callable[[], Any]] = [
        functools.partial(_read_state, stream),
        functools.partial(_query, user_id, f"otk#{device_id}#{algorithm}#", limit=1),
        functools.partial(dynamodb.get, TABLE, _fallback_key(user_id, device_id, algorithm)),
    ]
    state, found, fallback = concurrency.parallel(*reads)
    if found:
        item = found[0]
        writes = _take_writes(state, stream, item, _mark(user_id, device_id, item))
    elif fallback is None:
        return None
    else:
        item = fallback
        writes = [] if item["used"] else _use_writes(state, stream, item)
    if writes:
        dynamodb.transact(writes, patient=False)
    return item["key_id"], json.loads(item["key"])


def _take_writes(state: _State, stream: str, item: Item, mark: Write) -> list[Write]:
    """Return the writes that give out a one-time key."""
    one_time = dict(state.counts.one_time)
    one_time[item["algorithm"]] = max(one_time.get(item["algorithm"], 0) - 1, 0)
    key = {"user_id": item["user_id"], "sk": item["sk"]}
    return [
        *state.writes(stream, KeyCounts(one_time, state.counts.unused_fallback)),
        dynamodb.delete(TABLE, key, condition="attribute_exists(user_id)"),
        mark,
    ]


def _use_writes(state: _State, stream: str, item: Item) -> list[Write]:
    """Return the writes that give out a fallback key for the first time."""
    unused = [each for each in state.counts.unused_fallback if each != item["algorithm"]]
    return [
        *state.writes(stream, KeyCounts(state.counts.one_time, unused)),
        dynamodb.update(
            TABLE,
            {"user_id": item["user_id"], "sk": item["sk"]},
            "SET used = :true",
            values={":true": True, ":key": item["key_id"]},
            condition="key_id = :key",
        ),
    ]


def _mark(user_id: UserId, device_id: DeviceId, item: Item) -> Write:
    return dynamodb.put(
        "transient",
        {
            "id": _mark_id(user_id, device_id, (item["algorithm"], item["key_id"])),
            "digest": _digest(json.loads(item["key"])),
            "expires": now_ms() // 1000 + CLAIMED_SECONDS,
        },
    )


# -- Both ------------------------------------------------------------------------------------------------


def _retry(change: Callable[[], T]) -> T:
    """Return what `change` returns, trying again after each lost race. Raises Unavailable."""
    for attempt in range(streams.ATTEMPTS):
        try:
            return change()
        except ConditionFailed:
            streams.pause(attempt)
    raise Unavailable("Too many requests change the device's keys at once; try again")


def _read_state(stream: str) -> _State:
    keys = [streams.head_key(stream), {"stream_id": stream, "sk": COUNTS_KEY}]
    items = {item["sk"]: item for item in dynamodb.batch_get({streams.TABLE: keys})[streams.TABLE]}
    item = items.get(COUNTS_KEY)
    return _State(
        streams.head_seq(items.get(streams.HEAD)), counts_of(item), int(item["seq"]) if item else None
    )


def _query(user_id: UserId, prefix: str, *, limit: int | None = None) -> list[Item]:
    return dynamodb.query(
        TABLE,
        "user_id = :user AND begins_with(sk, :prefix)",
        {":user": user_id, ":prefix": prefix},
        limit=limit,
    )
