"""Other servers' signing keys: items `<key ID>` of the table `remote-keys`. They don't expire.

An item has the key, its source, and the signed document in which it was last seen as a current key, which a
notary serves again. An item `asked` says when the server was last asked, and whether it failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from murmuration.aws import dynamodb
from murmuration.aws.concurrency import parallel
from murmuration.aws.dynamodb import Item, Storable, StoredItem
from murmuration.protocol.pdus.keys import VerifyKey

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import ServerName

TABLE = "remote-keys"
Source = Literal["origin", "notary"]
_ASKED = "asked"


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A server's key, the server that gave it, and when it was received, in milliseconds."""

    server_name: ServerName
    key: VerifyKey
    source: Source
    received_ms: int
    document: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """When a server was asked for its keys, when it may be asked again (ms), and its consecutive failures."""

    at_ms: int = 0
    again_ms: int = 0
    failures: int = 0


def read_many(
    wanted: Iterable[tuple[str, str]],
) -> tuple[dict[tuple[ServerName, str], StoredKey], dict[ServerName, Asked]]:
    """Return the stored keys among (server, key ID) pairs, and when their servers were asked."""
    pairs = list(wanted)
    keys: list[dict[str, str]] = [{"server_name": server, "sk": key_id} for server, key_id in pairs]
    keys += [{"server_name": server, "sk": _ASKED} for server in {server for server, _ in pairs}]
    items = dynamodb.batch_get({TABLE: keys}, eventual=(TABLE,))[TABLE] if keys else []
    found = {(item["server_name"], item["sk"]): _parse(item) for item in items if item["sk"] != _ASKED}
    asked = {item["server_name"]: _parse_asked(item) for item in items if item["sk"] == _ASKED}
    return found, asked


def read_server(server_name: ServerName, *, consistent: bool = False) -> tuple[list[StoredKey], Asked]:
    """Return all stored keys of a server, and when it was asked. At most 1 MB."""
    items = dynamodb.query_page(
        TABLE, "server_name = :server", {":server": server_name}, consistent=consistent
    ).items
    asked = [_parse_asked(item) for item in items if item["sk"] == _ASKED]
    return [_parse(item) for item in items if item["sk"] != _ASKED], asked[0] if asked else Asked()


def write(keys: Iterable[StoredKey]) -> None:
    """Store keys. A stored key is replaced only by a better one, and is never lost.

    A key from its own server replaces the stored one, but doesn't shorten the validity of a current key. A
    key from a notary is only added, or lengthens the validity of the same key.
    """
    parallel(*(lambda key=key: _write_one(key) for key in keys))


def _write_one(stored: StoredKey) -> None:
    key = stored.key
    item: Item = {
        "server_name": stored.server_name,
        "sk": key.key_id,
        "public_key": key.public_key,
        "source": stored.source,
        "received_ms": stored.received_ms,
        "document": stored.document,
    }
    values: dict[str, Storable] = {":key": key.public_key}
    if key.expired_ts is not None:
        item["expired_ts"] = key.expired_ts
        better = "public_key = :key AND attribute_exists(valid_until_ts)"
    else:
        item["valid_until_ts"] = values[":until"] = key.valid_until_ts
        better = "public_key = :key AND valid_until_ts < :until"
    if stored.source == "origin":
        condition = f"attribute_not_exists(sk) OR public_key <> :key OR ({better})"
        if key.expired_ts is None:
            condition += " OR attribute_not_exists(valid_until_ts)"
    elif key.expired_ts is not None:
        # A notary's statement that a key is a former one counts only if the origin itself never gave the key.
        condition = f"attribute_not_exists(sk) OR ({better} AND #source = :notary)"
        values[":notary"] = "notary"
    else:
        condition = f"attribute_not_exists(sk) OR ({better})"
    names = {"#source": "source"} if "#source" in condition else None
    dynamodb.try_execute(dynamodb.put(TABLE, item, condition=condition, values=values, names=names))


def write_asked(server_name: ServerName, asked: Asked) -> None:
    """Record when a server may be asked again."""
    dynamodb.execute(
        dynamodb.put(
            TABLE,
            {
                "server_name": server_name,
                "sk": _ASKED,
                "at_ms": asked.at_ms,
                "again_ms": asked.again_ms,
                "failures": asked.failures,
            },
        )
    )


def _parse(item: StoredItem) -> StoredKey:
    key = VerifyKey(
        item["sk"],
        item["public_key"],
        valid_until_ts=item.get("valid_until_ts"),
        expired_ts=item.get("expired_ts"),
    )
    return StoredKey(item["server_name"], key, item["source"], item["received_ms"], item["document"])


def _parse_asked(item: StoredItem) -> Asked:
    return Asked(item["at_ms"], item["again_ms"], item["failures"])
