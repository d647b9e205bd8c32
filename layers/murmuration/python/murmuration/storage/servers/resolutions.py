"""The resolved addresses of servers: items `server#<name>` of the table `transient`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import StoredItem

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import ServerName

TABLE = "transient"


@dataclass(frozen=True, slots=True)
class Resolution:
    """The result of resolving one server name. All times are in milliseconds.

    `delegate` is the delegation in its last well-known file; empty if that had no valid one. It is valid
    until `ask_again_ms`; after a failed attempt it is used until `stale_until_ms`. `failures` counts
    consecutive failed attempts. `targets` are the SRV records of `targets_of`, valid until
    `targets_until_ms`.
    """

    delegate: str = ""
    ask_again_ms: int = 0
    stale_until_ms: int = 0
    failures: int = 0
    targets_of: str = ""
    targets: tuple[tuple[str, int], ...] = ()
    targets_until_ms: int = 0


def read(server_name: ServerName) -> Resolution | None:
    """Return the stored resolution of a server name. One read, eventually consistent: an older answer does
    no harm.
    """
    return _parse(dynamodb.get(TABLE, _key(server_name), consistent=False))


def write(server_name: ServerName, found: Resolution) -> None:
    """Store a result. Of two concurrent writes the last one wins; both have the same answer."""
    last = max(found.ask_again_ms, found.stale_until_ms, found.targets_until_ms)
    item = {
        **_key(server_name),
        "delegate": found.delegate,
        "ask_again_ms": found.ask_again_ms,
        "stale_until_ms": found.stale_until_ms,
        "failures": found.failures,
        "targets_of": found.targets_of,
        "targets": [list(target) for target in found.targets],
        "targets_until_ms": found.targets_until_ms,
        # Failures are remembered for a day, so that the next attempt waits longer.
        "expires": last // 1000 + 86_400,
    }
    dynamodb.execute(dynamodb.put(TABLE, item))


def _parse(item: StoredItem | None) -> Resolution | None:
    if item is None:
        return None
    return Resolution(
        item["delegate"],
        item["ask_again_ms"],
        item["stale_until_ms"],
        item["failures"],
        item["targets_of"],
        tuple((host, port) for host, port in item["targets"]),
        item["targets_until_ms"],
    )


def _key(server_name: ServerName) -> dict[str, str]:
    return {"id": f"server#{server_name}"}
