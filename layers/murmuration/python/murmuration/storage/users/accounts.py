"""Accounts and devices: the items `account` and `device#<id>` of the table `users`.

A device's item has the hashes of its tokens. After a refresh the next pair waits in `next_access_hash`,
`next_access_expires_ms`, `next_refresh_hash` and `next_nonce` until one of the two is used.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from murmuration.aws import concurrency, dynamodb
from murmuration.aws.dynamodb import Attributes, ConditionFailed, Item, Storable, StoredItem, Write
from murmuration.aws.reads import Read
from murmuration.protocol.identifiers import DeviceId, UserId
from murmuration.storage.live import sliding_positions
from murmuration.storage.live.streams import device_stream, user_stream

if TYPE_CHECKING:
    from murmuration.storage.json_types import AccountItem, DeviceItem

USERS = "users"
KEYS = "keys"
STREAMS = "streams"
DEVICE = "device#"
CAPABILITIES = "capabilities#"
"""The sort key prefix of the capabilities that a device announced (`client_capabilities`)."""
NEXT = ("next_access_hash", "next_access_expires_ms", "next_refresh_hash", "next_nonce")
REMOVE_NEXT = f"REMOVE {', '.join(NEXT)}"


def account_key(user_id: UserId) -> dict[str, str]:
    return {"user_id": user_id, "sk": "account"}


def device_key(user_id: UserId, device_id: DeviceId) -> dict[str, str]:
    return {"user_id": user_id, "sk": DEVICE + device_id}


def device_read(key: Mapping[str, str]) -> Read[DeviceItem | None]:
    """Return the read of a device's item, by the key that an access token names."""
    return Read(USERS, key, lambda item: cast("DeviceItem | None", item))


def device_id_of(item: DeviceItem) -> DeviceId:
    """Return the device's ID from its item."""
    return DeviceId(item["sk"].removeprefix(DEVICE))


# -- Accounts --------------------------------------------------------------------------------------------


def read_account(user_id: UserId) -> AccountItem | None:
    """Return the item of an account, even a deactivated one; None if there never was one."""
    return cast("AccountItem | None", dynamodb.get(USERS, account_key(user_id)))


def is_findable_read(user_id: UserId) -> Read[bool]:
    """Return the read whether other users may find an account: it exists, and isn't deactivated, suspended or
    locked.
    """
    return Read(USERS, account_key(user_id), _is_findable)


def _is_findable(item: Item | None) -> bool:
    return item is not None and not {"deactivated_ms", "suspended", "locked"} & item.keys()


def is_locked_read(user_id: UserId) -> Read[bool]:
    """Return the read whether an account is locked."""
    return Read(USERS, account_key(user_id), lambda item: bool(item and item.get("locked")))


def read_account_and_device(
    user_id: UserId, device_id: DeviceId | None
) -> tuple[AccountItem | None, DeviceItem | None]:
    """Return the account's and the device's item. One request."""
    keys = [account_key(user_id)] + ([device_key(user_id, device_id)] if device_id is not None else [])
    found = {item["sk"]: item for item in dynamodb.batch_get({USERS: keys})[USERS]}
    account, device = found.get("account"), found.get(f"{DEVICE}{device_id}")
    return cast("AccountItem | None", account), cast("DeviceItem | None", device)


ACCOUNT = "account"
CLOSING = "closing"
"""The partition of accounts that are being closed, in place of a user ID."""


def create_account_write(user_id: UserId, attributes: Attributes) -> Write:
    """Return the write, named ACCOUNT, that creates an account. It is refused if the ID was ever in use."""
    return dynamodb.put(
        USERS, {**account_key(user_id), **attributes}, condition="attribute_not_exists(user_id)"
    ).named(ACCOUNT)


def check_password_unchanged(user_id: UserId, password_hash: str) -> Write:
    """Return the check that an account's password is unchanged and the account is active."""
    return dynamodb.check(
        USERS, account_key(user_id), "password_hash = :password", values={":password": password_hash}
    )


def check_active(user_id: UserId) -> Write:
    """Return the check that an account exists and isn't deactivated."""
    return dynamodb.check(
        USERS, account_key(user_id), "attribute_exists(user_id) AND attribute_not_exists(deactivated_ms)"
    )


def set_password(user_id: UserId, password_hash: str) -> None:
    """Set an account's password. Raises ConditionFailed if it is unknown or deactivated."""
    dynamodb.execute(
        dynamodb.update(
            USERS,
            account_key(user_id),
            "SET password_hash = :password",
            values={":password": password_hash},
            condition="attribute_exists(user_id) AND attribute_not_exists(deactivated_ms)",
        )
    )


def set_login_networks(user_id: UserId, networks: Sequence[str]) -> None:
    """Store the networks from which the owner logged in; does nothing for a deactivated account."""
    with suppress(ConditionFailed):
        dynamodb.execute(
            dynamodb.update(
                USERS,
                account_key(user_id),
                "SET login_networks = :networks",
                values={":networks": list(networks)},
                condition="attribute_exists(user_id) AND attribute_not_exists(deactivated_ms)",
            )
        )


def set_admin(user_id: UserId, admin: bool) -> None:
    """Make an account an administrator's, or end that. Raises ConditionFailed if it is unknown or
    deactivated.
    """
    dynamodb.execute(
        dynamodb.update(
            USERS,
            account_key(user_id),
            "SET admin = :true" if admin else "REMOVE admin",
            values={":true": True} if admin else None,
            condition="attribute_exists(user_id) AND attribute_not_exists(deactivated_ms)",
        )
    )


def set_flag(user_id: UserId, flag: str, on: bool) -> None:
    """Set or remove the flag `locked` or `suspended` of an account.

    Raises ConditionFailed if the account is unknown, deactivated, or an administrator's.
    """
    active = "attribute_exists(user_id) AND attribute_not_exists(deactivated_ms)"
    dynamodb.execute(
        dynamodb.update(
            USERS,
            account_key(user_id),
            "SET #flag = :true" if on else "REMOVE #flag",
            names={"#flag": flag},
            values={":true": True, ":false": False} if on else {":false": False},
            condition=f"{active} AND (attribute_not_exists(admin) OR admin = :false)",
        )
    )


def copy_flags(user_id: UserId, flags: Sequence[str]) -> None:
    """Copy these flags of a user's account to the items of all their devices."""
    account: StoredItem = read_account(user_id) or {}
    now = {flag: bool(account.get(flag)) for flag in flags}
    for device in read_devices(user_id):
        before: StoredItem = device
        if any(bool(before.get(flag)) != on for flag, on in now.items()):
            update_device(user_id, device_id_of(device), now)


def scan_accounts() -> Iterator[AccountItem]:
    """Yield every account, in no particular order. Reads the whole table."""
    found = dynamodb.scan(
        USERS, FilterExpression="sk = :account", ExpressionAttributeValues={":account": {"S": "account"}}
    )
    return cast("Iterator[AccountItem]", found)


def begin_closing(user_id: UserId, *, at_ms: int, erase: bool) -> None:
    """Close an account for good. Its item stays, so that the user ID is never given out again.

    Nobody can log in any more. Until `end_closing` the password still proves whose account it is, and
    `read_closing` finds the account. Raises ConditionFailed for an unknown account.
    """
    marker = dynamodb.put(USERS, {**_closing_key(user_id), "at_ms": at_ms})
    erased = ", erased = :true" if erase else ""
    values = {":true": True} if erase else {}
    first = dynamodb.update(
        USERS,
        account_key(user_id),
        f"SET deactivated_ms = :at, closing_hash = if_not_exists(password_hash, :none){erased}"
        " REMOVE password_hash, login_networks",
        values={":at": at_ms, ":none": "", **values},
        condition="attribute_exists(user_id) AND attribute_not_exists(deactivated_ms)",
    )
    again = dynamodb.update(
        USERS,
        account_key(user_id),
        f"SET deactivated_ms = if_not_exists(deactivated_ms, :at){erased}",
        values={":at": at_ms, **values},
        condition="attribute_exists(user_id)",
    )
    try:
        dynamodb.transact([first, marker])
    except ConditionFailed:
        dynamodb.transact([again, marker])


def end_closing(user_id: UserId) -> None:
    """Record that all data of a closed account are deleted, and delete its password."""
    dynamodb.transact(
        [
            dynamodb.update(
                USERS,
                account_key(user_id),
                "REMOVE closing_hash",
                condition="attribute_exists(deactivated_ms)",
            ),
            dynamodb.delete(USERS, _closing_key(user_id)),
        ]
    )


def read_closing(before_ms: int) -> list[UserId]:
    """Return the accounts whose closing began before a time and hasn't ended."""
    items = dynamodb.query(
        USERS, "user_id = :closing AND begins_with(sk, :prefix)", {":closing": CLOSING, ":prefix": "@"}
    )
    return [UserId(item["sk"]) for item in items if item["at_ms"] < before_ms]


def _closing_key(user_id: UserId) -> dict[str, str]:
    return {"user_id": CLOSING, "sk": user_id}


def purge_user_data(user_id: UserId) -> None:
    """Delete a user's profile, filters, keys and account data. Account, devices and memberships stay.

    The log of device changes stays too, for other servers that haven't been told yet: up to a hundred device
    IDs.
    """
    filters, keys = concurrency.parallel(
        functools.partial(_query_keys, USERS, "user_id", user_id, "filter#"),
        functools.partial(_query_keys, KEYS, "user_id", user_id),
    )
    profile = [{"user_id": user_id, "sk": "profile"}]
    dynamodb.batch_write(
        [dynamodb.delete(USERS, key) for key in (*profile, *filters)]
        + [dynamodb.delete(KEYS, key) for key in keys if not key["sk"].startswith("change")]
    )
    purge_stream(user_stream(user_id))


# -- Devices ---------------------------------------------------------------------------------------------


def read_device(user_id: UserId, device_id: DeviceId) -> DeviceItem | None:
    """Return the item of a device; None if there is none."""
    return cast("DeviceItem | None", dynamodb.get(USERS, device_key(user_id, device_id)))


def read_devices(user_id: UserId) -> list[DeviceItem]:
    """Return all devices of a user, by device ID."""
    found = dynamodb.query(
        USERS, "user_id = :user AND begins_with(sk, :prefix)", {":user": user_id, ":prefix": DEVICE}
    )
    return cast("list[DeviceItem]", found)


def create_device_write(user_id: UserId, device_id: DeviceId, attributes: Attributes) -> Write:
    """Return the write that adds a device. It is refused if the device exists."""
    item = {**device_key(user_id, device_id), **attributes}
    return dynamodb.put(USERS, item, condition="attribute_not_exists(user_id)")


def check_device(user_id: UserId, device_id: DeviceId) -> Write:
    """Return the check, named "device", that a device exists."""
    return dynamodb.check(USERS, device_key(user_id, device_id), "attribute_exists(user_id)").named("device")


def replace_tokens_write(
    user_id: UserId, device_id: DeviceId, attributes: Attributes, remove: Sequence[str] = ()
) -> Write:
    """Return the write that sets attributes of an existing device and removes its other tokens.

    `remove` names further attributes to remove.
    """
    expression, names, values = _set(attributes)
    return dynamodb.update(
        USERS,
        device_key(user_id, device_id),
        f"SET {expression} REMOVE {', '.join((*NEXT, *remove))}",
        names=names,
        values=values,
        condition="attribute_exists(user_id)",
    )


def offer_next_tokens(
    user_id: UserId, device_id: DeviceId, attributes: Attributes, *, refresh_hash: str, nonce: str | None
) -> None:
    """Store the token pair that follows `refresh_hash`, in place of the pair that was made with `nonce`.

    Raises ConditionFailed if either has changed.
    """
    expression, names, values = _set(attributes)
    offered = "next_nonce = :nonce" if nonce is not None else "attribute_not_exists(next_nonce)"
    values |= {":refresh": refresh_hash} | ({":nonce": nonce} if nonce is not None else {})
    dynamodb.execute(
        dynamodb.update(
            USERS,
            device_key(user_id, device_id),
            f"SET {expression}",
            names=names,
            values=values,
            condition=f"refresh_hash = :refresh AND {offered}",
        )
    )


def promote_next_tokens(device: DeviceItem, seen: Attributes | None = None) -> bool:
    """Make the waiting token pair the device's only one. Returns False if the device changed meanwhile."""
    stored: StoredItem = device
    promoted = {name.removeprefix("next_"): stored[name] for name in NEXT[:3]}
    expression, names, values = _set({**promoted, **(seen or {})})
    return dynamodb.try_execute(
        dynamodb.update(
            USERS,
            {"user_id": device["user_id"], "sk": device["sk"]},
            f"SET {expression} {REMOVE_NEXT}",
            names=names,
            values=values | {":next": device["next_access_hash"]},
            condition="next_access_hash = :next",
        )
    )


def update_device(user_id: UserId, device_id: DeviceId, attributes: Attributes) -> bool:
    """Set attributes of a device. Returns False if it doesn't exist."""
    expression, names, values = _set(attributes)
    return dynamodb.try_execute(
        dynamodb.update(
            USERS,
            device_key(user_id, device_id),
            f"SET {expression}",
            names=names,
            values=values,
            condition="attribute_exists(user_id)",
        )
    )


def delete_device_items(user_id: UserId, device_ids: Iterable[DeviceId]) -> None:
    """Delete devices, and with them their tokens and the capabilities that they announced."""
    keys = [
        {"user_id": user_id, "sk": prefix + each} for each in device_ids for prefix in (DEVICE, CAPABILITIES)
    ]
    dynamodb.batch_write([dynamodb.delete(USERS, key) for key in keys])


def purge_device_data(user_id: UserId, device_id: DeviceId) -> None:
    """Delete a device's keys, the messages that wait for it, and its sliding sync connections."""
    prefixes = (f"otk#{device_id}#", f"fallback#{device_id}#")
    found = concurrency.parallel(
        *(functools.partial(_query_keys, KEYS, "user_id", user_id, prefix) for prefix in prefixes)
    )
    keys = [device_key(user_id, device_id), *(key for keys in found for key in keys)]
    dynamodb.batch_write([dynamodb.delete(KEYS, key) for key in keys])
    purge_stream(device_stream(user_id, device_id))
    sliding_positions.end_all(user_id, device_id)


def purge_stream(stream: str) -> None:
    """Delete a stream's items. Its head stays, so that no sequence number is used twice."""
    keys = _query_keys(STREAMS, "stream_id", stream)
    dynamodb.batch_write([dynamodb.delete(STREAMS, key) for key in keys if key["sk"] != "head"])


def _query_keys(table: str, hash_name: str, hash_value: str, prefix: str = "") -> list[Item]:
    condition, values = f"{hash_name} = :hash", {":hash": hash_value}
    if prefix:
        condition, values = f"{condition} AND begins_with(sk, :prefix)", values | {":prefix": prefix}
    return dynamodb.query(table, condition, values, attributes=(hash_name, "sk"))


def _set(attributes: Attributes) -> tuple[str, dict[str, str], dict[str, Storable]]:
    expression = ", ".join(f"#{name} = :{name}" for name in attributes)
    return (
        expression,
        {f"#{name}": name for name in attributes},
        {f":{name}": value for name, value in attributes.items()},
    )
