"""Device lists of other servers' users for whom local users have asked (table `keys`).

    list                 what is known of a user's devices, and whether it is complete
    observer#<user>      a local user who is to be told of changes

A list has a `revision`, which increases with every update. A request to the other server records the revision
before it, and stores the answer only if the revision is unchanged: so an update that arrived meanwhile isn't
lost. An observer is told of each change. One who was told ten times without asking for the list is removed,
and becomes an observer again by asking.
"""

from __future__ import annotations

import json
import secrets
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Item
from murmuration.aws.reads import Read, fetch_all
from murmuration.protocol.identifiers import UserId

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import KeyObject
    from murmuration.protocol.identifiers import DeviceId

TABLE = "keys"
LIST, OBSERVER = "list", "observer#"
MOST_BYTES = 300_000
"""The maximum size of a compressed list. A device with its signatures takes about 700 bytes."""

KEPT_STREAM_IDS = 30
MOST_UNASKED = 10
"""How often an observer is told who doesn't ask for the list."""


@dataclass(frozen=True, slots=True)
class RemoteDevices:
    """A remote user's devices: their keys by ID, their names, and two cross-signing keys."""

    devices: Mapping[DeviceId, KeyObject] = field(default_factory=dict)
    names: Mapping[DeviceId, str] = field(default_factory=dict)
    master: KeyObject | None = None
    self_signing: KeyObject | None = None

    def encode(self) -> bytes:
        """Return the compressed form in which it is stored."""
        value = [self.devices, self.names, self.master, self.self_signing]
        return zlib.compress(json.dumps(value, separators=(",", ":"), sort_keys=True).encode())

    @classmethod
    def decode(cls, data: bytes) -> RemoteDevices:
        """Return the devices that `encode` encoded."""
        return cls(*json.loads(zlib.decompress(data)))


@dataclass(frozen=True, slots=True)
class DeviceList:
    """The device list of a remote user.

    `is_fresh`: no newer change is known. `stream_ids` are those of the newest updates in it, if the other
    server gave any. `packed` is what `RemoteDevices.encode` returned; None while nothing is known.
    `is_untold`: observers may not have been told of it. `confirmed_ms` is when the other server last sent
    information about the user.
    """

    user_id: UserId
    revision: int
    is_fresh: bool
    stream_ids: tuple[int, ...]
    packed: bytes | None
    confirmed_ms: int
    is_untold: bool

    @property
    def content(self) -> RemoteDevices | None:
        """The devices. Each use unpacks them again, since those of many users together are large."""
        return RemoteDevices.decode(self.packed) if self.packed is not None else None


@dataclass(frozen=True, slots=True)
class Observer:
    """A local user who is to be told of changes. `told` is how often they were told since they last asked.

    `nonce` changes whenever they ask.
    """

    user_id: UserId
    nonce: str
    told: int = 0


def _key(user_id: UserId, sk: str = LIST) -> dict[str, str]:
    return {"user_id": user_id, "sk": sk}


def _parse(item: Item | None) -> DeviceList | None:
    return _parse_list(item) if item is not None else None


def _parse_list(item: Item) -> DeviceList:
    data = item.get("devices")
    return DeviceList(
        item["user_id"],
        item["revision"],
        item.get("fresh", False),
        tuple(item.get("stream_ids", ())),
        bytes(data) if data is not None else None,
        item.get("confirmed_ms", 0),
        item.get("untold", False),
    )


# -- Reading ---------------------------------------------------------------------------------------------


def list_read(user_id: UserId) -> Read[DeviceList | None]:
    """Return the read of a user's list; its value is None if no local user has asked for it."""
    return Read(TABLE, _key(user_id), _parse)


def read_lists(user_ids: Sequence[UserId]) -> dict[UserId, DeviceList]:
    """Return the stored lists of these users, by user. One round trip for 100."""
    found = fetch_all([list_read(user_id) for user_id in user_ids])
    return {each.user_id: each for each in found if each is not None}


def observer_read(user_id: UserId, observer: str) -> Read[bool]:
    """Return the read whether a local user observes a remote user, and wasn't told since they last asked."""
    return Read(
        TABLE,
        _key(user_id, OBSERVER + observer),
        lambda item: item is not None and not item.get("told"),
    )


def read_observers(user_id: UserId) -> list[Observer]:
    """Return the local users to tell of changes of a user's devices."""
    items = dynamodb.query(
        TABLE,
        "user_id = :user AND begins_with(sk, :prefix)",
        {":user": user_id, ":prefix": OBSERVER},
    )
    return [
        Observer(UserId(item["sk"].removeprefix(OBSERVER)), item["nonce"], int(item.get("told", 0)))
        for item in items
    ]


# -- Writing ---------------------------------------------------------------------------------------------


def observe(user_id: UserId, observer: str) -> None:
    """Record that a local user must be told of changes of a remote user's devices.

    Call it before reading the list, so that no change is missed.
    """
    item = {**_key(user_id, OBSERVER + observer), "nonce": secrets.token_hex(8)}
    dynamodb.execute(dynamodb.put(TABLE, item))


def note_observer_told(user_id: UserId, observer: Observer) -> None:
    """Record that an observer was told; remove them if they haven't asked for a long time.

    Does nothing if they have asked again since.
    """
    if observer.told + 1 >= MOST_UNASKED:
        dismiss(user_id, observer)
        return
    write = dynamodb.update(
        TABLE,
        _key(user_id, OBSERVER + observer.user_id),
        "ADD told :one",
        condition="nonce = :nonce",
        values={":nonce": observer.nonce, ":one": 1},
    )
    dynamodb.try_execute(write)


def dismiss(user_id: UserId, observer: Observer) -> None:
    """Remove an observer. Does nothing if they have asked again since."""
    write = dynamodb.delete(
        TABLE,
        _key(user_id, OBSERVER + observer.user_id),
        condition="nonce = :nonce",
        values={":nonce": observer.nonce},
    )
    dynamodb.try_execute(write)


def begin(user_id: UserId) -> DeviceList:
    """Return the list, and create it if there is none. Updates from now on are recorded."""
    write = dynamodb.update(TABLE, _key(user_id), "ADD revision :zero", values={":zero": 0})
    return _parse_list(dynamodb.execute(write, returning="ALL_NEW") or {})


def mark_stale(user_id: UserId) -> bool:
    """Record that the list may be incomplete. Returns False if there is no list of the user."""
    write = dynamodb.update(
        TABLE,
        _key(user_id),
        "SET fresh = :no ADD revision :one",
        values={":no": False, ":one": 1},
        condition="attribute_exists(revision)",
    )
    return dynamodb.try_execute(write)


def store(
    before: DeviceList, content: RemoteDevices, stream_ids: Sequence[int], *, now_ms: int, untold: bool
) -> bool:
    """Store the list as fresh. Returns False if it changed since `before` was read.

    Pass `untold` if observers are to be told. A list that is too large isn't stored and stays stale.
    """
    data = content.encode()
    item: Item = {**_key(before.user_id), "revision": before.revision + 1, "confirmed_ms": now_ms}
    if len(data) <= MOST_BYTES:
        item |= {"fresh": True, "devices": data, "stream_ids": list(stream_ids)[-KEPT_STREAM_IDS:]}
    if untold or before.is_untold:
        item["untold"] = True
    write = dynamodb.put(
        TABLE,
        item,
        condition="revision = :revision",
        values={":revision": before.revision},
    )
    return dynamodb.try_execute(write)


def note_told(user_id: UserId, revision: int) -> None:
    """Record that all observers were told of this revision. Does nothing if there is a newer one."""
    write = dynamodb.update(
        TABLE,
        _key(user_id),
        "REMOVE untold",
        condition="revision = :revision",
        values={":revision": revision},
    )
    dynamodb.try_execute(write)


def forget(before: DeviceList, observers: Sequence[Observer]) -> None:
    """Delete the list of a user with whom no local user shares a room, unless it changed since."""
    for observer in observers:
        dismiss(before.user_id, observer)
    write = dynamodb.delete(
        TABLE,
        _key(before.user_id),
        condition="revision = :revision",
        values={":revision": before.revision},
    )
    dynamodb.try_execute(write)
