"""Identity keys: a device's own, a user's three for cross-signing, and the signatures on them.

    device#<device>                        a device's keys
    cross#<master|self_signing|user_signing>   cross-signing keys
    cross#signature#<key>#<signer>         the user's signatures on their own devices and master key
    signed#<user>                          the user's signature on another's master key

A signature is stored with the digest of the object that it signs, and is only shown with an object of that
digest, so it never applies to a later key.
"""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, cast

from murmuration.aws import concurrency, dynamodb
from murmuration.aws.dynamodb import Item, StoredItem, Write
from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.sizes import Budget
from murmuration.storage.users import accounts

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import KeyObject
    from murmuration.protocol.identifiers import DeviceId, UserId
    from murmuration.storage.json_types import DeviceItem

TABLE = "keys"
SIGNATURE = "cross#signature#"
FIRST_PAGE = 40
"""How many items of a user are read at first: the keys of about 18 signed devices."""
LARGE_AT_ONCE = 4
"""How many users with many keys are read in parallel, before it is known which of them fit."""
SMALL = 16_000
"""Users with keys up to this many bytes come before others: 16 devices of an ordinary size."""
SIGNATURE_BYTES, DEVICE_BYTES = 200, 100
"""The bytes of a signature in an answer, and of a device besides its keys and its name."""

Purpose = Literal["master", "self_signing", "user_signing"]
PURPOSES: tuple[Purpose, ...] = ("master", "self_signing", "user_signing")


@dataclass(frozen=True, slots=True)
class Signature:
    """One user's signature, by the key with the ID `signer`, on `key` of `user_id`, who may be another user.

    `key` is a device ID or a public key. `digest` is that of the signed object.
    """

    user_id: UserId
    key: str
    signer: str
    signature: str
    digest: str

    def add_to(self, signed: KeyObject, signing_user_id: UserId) -> KeyObject:
        """Return `signed` with this signature added, if it is a signature of that object."""
        if digest(signed) != self.digest:
            return signed
        signatures = signed.get("signatures", {})
        of_user = {**signatures.get(signing_user_id, {}), self.signer: self.signature}
        return {**signed, "signatures": {**signatures, signing_user_id: of_user}}


@dataclass(frozen=True, slots=True)
class Identity:
    """A user's identity: keys of the existing devices, cross-signing keys, and signatures.

    `devices` are as uploaded, by ID. `device_ids` and `display_names` are of all devices.
    """

    user_id: UserId
    exists: bool
    device_ids: frozenset[DeviceId] = frozenset()
    devices: dict[DeviceId, KeyObject] = field(default_factory=dict)
    display_names: dict[DeviceId, str] = field(default_factory=dict)
    cross_signing: dict[Purpose, KeyObject] = field(default_factory=dict)
    signatures: list[Signature] = field(default_factory=list)

    def with_signatures(self, key: str, signed: KeyObject) -> KeyObject:
        """Return a key or device with the signatures that its owner added later."""
        for signature in self.signatures:
            if signature.key == key:
                signed = signature.add_to(signed, self.user_id)
        return signed


def public_key(key: KeyObject) -> str:
    """Return the public key of a cross-signing key, in Base64."""
    (value,) = key["keys"].values()
    return str(value)


def digest(signed: KeyObject) -> str:
    """Return a digest of the part of an object that its signatures cover."""
    covered = {name: value for name, value in signed.items() if name not in ("signatures", "unsigned")}
    return hashlib.sha256(canonical_json.encode(covered, strict=False)).hexdigest()


# -- Reading ---------------------------------------------------------------------------------------------


def read_identities(user_ids: Collection[UserId]) -> list[Identity]:
    """Return the identities of local users in the given order. Two queries for each user, all in parallel."""
    calls = [functools.partial(_query, accounts.USERS, user_id, "account", "device$") for user_id in user_ids]
    calls += [functools.partial(_query, TABLE, user_id, "cross#", "device$") for user_id in user_ids]
    found = concurrency.parallel(*calls)
    return [
        _identity(user_id, account_items, key_items)
        for user_id, account_items, key_items in zip(
            user_ids, found[: len(user_ids)], found[len(user_ids) :], strict=True
        )
    ]


def show_fitting(
    user_ids: Collection[UserId],
    most_bytes: int,
    show: Callable[[Identity], None],
    is_late: Callable[[], bool],
) -> None:
    """Call `show` with the identities of local users whose keys have up to `most_bytes` together, perhaps
    from several threads.

    Users with few keys come first, so that users with many keys don't displace them. The first user is always
    shown. Once `is_late` returns true, no others are read. Two parallel queries for each user, and two more
    for each user with many keys.
    """
    lock, budget = threading.Lock(), Budget(most_bytes)

    def read_first(user_id: UserId) -> tuple[int, UserId] | None:
        """Show a user's identity if it is small. Otherwise return its approximate size, and the user."""
        if is_late():
            return None
        account_items, page = concurrency.gather(
            functools.partial(_query, accounts.USERS, user_id, "account", "device$"),
            functools.partial(_first_page, user_id),
        )
        size = _answer_bytes(account_items, page.items)
        if page.more is not None:
            return most_bytes, user_id
        if size > SMALL and len(user_ids) > 1:
            return size, user_id
        with lock:
            if not budget.take(size):
                return size, user_id
        show(_identity(user_id, account_items, page.items))
        return None

    found = concurrency.parallel(*(functools.partial(read_first, user_id) for user_id in user_ids))
    large = [user_id for _, user_id in sorted(each for each in found if each is not None)]
    while large and (budget.is_untouched or (budget.left > 0 and not is_late())):
        some, large = large[:LARGE_AT_ONCE], large[LARGE_AT_ONCE:]
        for size, identity in concurrency.parallel(*(functools.partial(_read_whole, it) for it in some)):
            if not budget.take(size):
                return
            show(identity)


def _first_page(user_id: UserId) -> dynamodb.Page:
    return dynamodb.query_page(TABLE, *_between(user_id, "cross#", "device$"), limit=FIRST_PAGE)


def _read_whole(user_id: UserId) -> tuple[int, Identity]:
    """Return the approximate bytes of a user's keys in an answer, and the user's identity."""
    account_items, key_items = concurrency.gather(
        functools.partial(_query, accounts.USERS, user_id, "account", "device$"),
        functools.partial(_query, TABLE, user_id, "cross#", "device$"),
    )
    return _answer_bytes(account_items, key_items), _identity(user_id, account_items, key_items)


def _answer_bytes(account_items: Iterable[Item], key_items: Iterable[Item]) -> int:
    """Return the approximate bytes of a user's keys in an answer."""
    size = sum(DEVICE_BYTES + len((item.get("display_name") or "").encode()) for item in account_items)
    for item in key_items:
        size += SIGNATURE_BYTES + len(item.get("key", "").encode())
    return size


def _between(user_id: UserId, first: str, last: str) -> tuple[str, dict[str, str]]:
    """Return the condition of a query for a user's items, with its values."""
    condition = "user_id = :user AND sk BETWEEN :first AND :last"
    return condition, {":user": user_id, ":first": first, ":last": last}


def _query(table: str, user_id: UserId, first: str, last: str) -> list[Item]:
    return dynamodb.query(table, *_between(user_id, first, last))


def _identity(user_id: UserId, account_items: Iterable[Item], key_items: Iterable[Item]) -> Identity:
    account, devices = False, {}
    for item in account_items:
        if item["sk"] == "account":
            account = "deactivated_ms" not in item
        elif item["sk"].startswith(accounts.DEVICE):
            devices[accounts.device_id_of(cast("DeviceItem", item))] = item
    identity = Identity(
        user_id,
        account,
        device_ids=frozenset(devices),
        display_names={key: name for key, item in devices.items() if (name := item.get("display_name"))},
    )
    for item in key_items:
        kind, _, rest = item["sk"].partition("#")
        if kind == "device":
            if rest in devices:
                identity.devices[rest] = json.loads(item["key"])
        elif rest in PURPOSES:
            identity.cross_signing[rest] = json.loads(item["key"])
        else:
            identity.signatures.append(_signature(item))
    return identity


def _signature(item: StoredItem) -> Signature:
    return Signature(
        item.get("signed_user_id", item["user_id"]),
        item["signed_key"],
        item["signer"],
        item["signature"],
        item["digest"],
    )


def read_signatures_on_others(user_id: UserId, others: Sequence[str]) -> list[Signature]:
    """Return a user's signatures on other users' master keys. One request for up to 100."""
    keys = [{"user_id": user_id, "sk": f"signed#{other}"} for other in others]
    return [_signature(item) for item in dynamodb.batch_get({TABLE: keys})[TABLE]] if keys else []


# -- Writing ---------------------------------------------------------------------------------------------


def _device_key(user_id: UserId, device_id: DeviceId) -> dict[str, str]:
    return {"user_id": user_id, "sk": f"device#{device_id}"}


def _cross_key(user_id: UserId, purpose: Purpose) -> dict[str, str]:
    return {"user_id": user_id, "sk": f"cross#{purpose}"}


def _encode(key: KeyObject) -> str:
    return canonical_json.encode(key, strict=False).decode()


def write_device(user_id: UserId, device_id: DeviceId, key: KeyObject) -> bool:
    """Store a device's keys. Returns False if the same keys were stored and announced already.

    Until `mark_device_announced`, storing the same keys again returns True: the first attempt may have
    stopped before it told anyone. Raises ConditionFailed if the device is gone.
    """
    encoded = _encode(key)
    old = dynamodb.get(TABLE, _device_key(user_id, device_id))
    if old is not None and old["key"] == encoded:
        return not old["announced"]
    dynamodb.transact(
        [
            dynamodb.check(
                accounts.USERS, accounts.device_key(user_id, device_id), "attribute_exists(user_id)"
            ),
            dynamodb.put(TABLE, {**_device_key(user_id, device_id), "key": encoded, "announced": False}),
        ]
    )
    return True


def mark_device_announced(user_id: UserId, device_id: DeviceId, key: KeyObject) -> None:
    """Record that everyone was told of a device's keys. Raises ConditionFailed if they changed since."""
    dynamodb.execute(
        dynamodb.update(
            TABLE,
            _device_key(user_id, device_id),
            "SET announced = :true",
            values={":true": True, ":key": _encode(key)},
            condition="#key = :key",
            names={"#key": "key"},
        )
    )


def write_cross_signing(
    user_id: UserId,
    new: Mapping[Purpose, KeyObject],
    *,
    old: Mapping[Purpose, KeyObject],
    remove: Collection[Purpose] = (),
) -> None:
    """Store cross-signing keys and remove others.

    Raises ConditionFailed unless all stored keys are still those of `old`.
    """
    writes: list[Write] = []
    for purpose in PURPOSES:
        key = _cross_key(user_id, purpose)
        condition, values, names = "attribute_not_exists(user_id)", {}, {}
        if purpose in old:
            condition, values, names = "#key = :key", {":key": _encode(old[purpose])}, {"#key": "key"}
        if purpose in new:
            item = {**key, "key": _encode(new[purpose])}
            writes.append(dynamodb.put(TABLE, item, condition=condition, values=values, names=names))
        elif purpose in remove:
            writes.append(dynamodb.delete(TABLE, key, condition=condition, values=values, names=names))
        else:
            writes.append(dynamodb.check(TABLE, key, condition, values=values, names=names))
    dynamodb.transact(writes)


def _signature_key(user_id: UserId, signature: Signature) -> dict[str, str]:
    if signature.user_id == user_id:
        return {"user_id": user_id, "sk": f"{SIGNATURE}{signature.key}#{signature.signer}"}
    return {"user_id": user_id, "sk": f"signed#{signature.user_id}"}


def write_signatures(
    user_id: UserId, signatures: Sequence[Signature], *, outlived: Sequence[Signature] = ()
) -> None:
    """Store signatures that a user made, and delete those in `outlived`."""
    writes = [dynamodb.delete(TABLE, _signature_key(user_id, each)) for each in outlived]
    for signature in signatures:
        item = {
            **_signature_key(user_id, signature),
            "signed_user_id": signature.user_id,
            "signed_key": signature.key,
            "signer": signature.signer,
            "signature": signature.signature,
            "digest": signature.digest,
        }
        writes.append(dynamodb.put(TABLE, item))
    dynamodb.batch_write(writes)
