"""Device lists of other servers' users, as far as users of this server have asked for them (table `keys`).

    list                 what is known of a user's devices, and whether that is all there is
    observer#<user>      a user of this server who was given the list, and is to be told of a change

A list has a `revision`, which moves with everything that is learnt. Whoever asks the other server notes the
revision before, and stores the answer only if it is still the same: so an update that came meanwhile isn't
lost. An observer is told once, and watches again by asking anew.
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

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import KeyObject
    from murmuration.protocol.identifiers import DeviceId, UserId

TABLE = "keys"
LIST, OBSERVER = "list", "observer#"
MOST_BYTES = 300_000
"""How large a compressed list may be. A device with its signatures takes some 700 bytes."""

KEPT_STREAM_IDS = 30


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
        """Return the devices of which `encode` returned `data`."""
        return cls(*json.loads(zlib.decompress(data)))


@dataclass(frozen=True, slots=True)
class DeviceList:
    """The device list of a remote user.

    `is_fresh`: nothing newer is known of. `stream_ids` are those of the newest updates in it, as far as the
    other server gave any. `packed` is what `RemoteDevices.encode` returned, None while nothing is known.
    `is_untold`: observers may not have been told of it. `confirmed_ms` is when the other server last said
    something about the user.
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
        """The devices, unpacked by each use: those of many users together are large."""
        return RemoteDevices.decode(self.packed) if self.packed is not None else None


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
    """Read a user's list; None if no local user has asked for it."""
    return Read(TABLE, _key(user_id), _parse)


def read_lists(user_ids: Sequence[UserId]) -> dict[UserId, DeviceList]:
    """Return the stored lists of these users, by user. One round trip for 100."""
    found = fetch_all([list_read(user_id) for user_id in user_ids])
    return {each.user_id: each for each in found if each is not None}


def observer_read(user_id: UserId, observer: str) -> Read[bool]:
    """Read whether a local user is to be told when a remote user's devices change."""
    return Read(TABLE, _key(user_id, OBSERVER + observer), lambda item: item is not None)


def read_observers(user_id: UserId) -> list[tuple[UserId, str]]:
    """Return the local users to tell of changes of a user's devices, each with the value that `dismiss`
    needs.
    """
    items = dynamodb.query(
        TABLE,
        "user_id = :user AND begins_with(sk, :prefix)",
        {":user": user_id, ":prefix": OBSERVER},
    )
    return [(item["sk"].removeprefix(OBSERVER), item["nonce"]) for item in items]


# -- Writing ---------------------------------------------------------------------------------------------


def observe(user_id: UserId, observer: str) -> None:
    """Note that a local user must be told of the next change of a remote user's devices.

    Call it before reading the list, so that no change is missed.
    """
    item = {**_key(user_id, OBSERVER + observer), "nonce": secrets.token_hex(8)}
    dynamodb.execute(dynamodb.put(TABLE, item))


def dismiss(user_id: UserId, observer: str, nonce: str) -> None:
    """Remove an observer who was told; nothing happens if they have asked again since."""
    write = dynamodb.delete(
        TABLE, _key(user_id, OBSERVER + observer), condition="nonce = :nonce", values={":nonce": nonce}
    )
    dynamodb.try_execute(write)


def begin(user_id: UserId) -> DeviceList:
    """Return the list, and create it if there is none: updates from now on are noticed."""
    write = dynamodb.update(TABLE, _key(user_id), "ADD revision :zero", values={":zero": 0})
    return _parse_list(dynamodb.execute(write, returning="ALL_NEW") or {})


def mark_stale(user_id: UserId) -> bool:
    """Note that the list may be incomplete. Return False if there is no list of the user."""
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
    """Store the list as fresh. Return False if it changed since `before` was read.

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
    """Note that all observers were told of this revision; nothing happens if there is a newer one."""
    write = dynamodb.update(
        TABLE,
        _key(user_id),
        "REMOVE untold",
        condition="revision = :revision",
        values={":revision": revision},
    )
    dynamodb.try_execute(write)


def forget(before: DeviceList, observers: Sequence[tuple[str, str]]) -> None:
    """Delete the list of a user with whom no local user shares a room, unless it changed since."""
    for observer, nonce in observers:
        dismiss(before.user_id, observer, nonce)
    write = dynamodb.delete(
        TABLE,
        _key(before.user_id),
        condition="revision = :revision",
        values={":revision": before.revision},
    )
    dynamodb.try_execute(write)
