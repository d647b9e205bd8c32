"""The health of other servers: items `health` of the table `destinations`. A server that answers has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import StoredItem

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import ServerName

TABLE = "destinations"


@dataclass(frozen=True, slots=True)
class Health:
    """A server's health. Times are in milliseconds, all 0 for a server that answers.

    `failing_since_ms` is when it stopped answering, `last_failure_ms` the latest failure. It isn't asked
    again before `retry_at_ms`; `interval_ms` is the length of that wait. A server that only asked to be sent
    no requests for a while has only `retry_at_ms`.
    """

    failing_since_ms: int = 0
    last_failure_ms: int = 0
    retry_at_ms: int = 0
    interval_ms: int = 0


def read(server_name: ServerName) -> Health:
    """Return a server's health. One read, eventually consistent."""
    return _parse(dynamodb.get(TABLE, _key(server_name), consistent=False))


def read_many(server_names: Sequence[ServerName]) -> dict[str, Health]:
    """Return the health of several servers. One request for 100."""
    if not server_names:
        return {}
    keys = [_key(name) for name in server_names]
    items = dynamodb.batch_get({TABLE: keys}, eventual=(TABLE,))[TABLE]
    found = {item["server_name"]: item for item in items}
    return {name: _parse(found.get(name)) for name in server_names}


def write_failure(server_name: ServerName, found: Health, started_ms: int) -> bool:
    """Record a failed request that began at `started_ms`.

    Returns False if a failure since then is recorded already, so that concurrent failures count as one.
    """
    values = {
        ":failing_since": found.failing_since_ms,
        ":last_failure": found.last_failure_ms,
        ":retry_at": found.retry_at_ms,
        ":interval": found.interval_ms,
        ":started": started_ms,
    }
    write = dynamodb.update(
        TABLE,
        _key(server_name),
        "SET failing_since_ms = :failing_since, last_failure_ms = :last_failure,"
        " retry_at_ms = :retry_at, interval_ms = :interval",
        values=values,
        condition="attribute_not_exists(last_failure_ms) OR last_failure_ms < :started",
    )
    return dynamodb.try_execute(write)


def hold(server_name: ServerName, retry_at_ms: int) -> None:
    """Record that a server asked to be sent no requests until a time. This doesn't count as a failure."""
    dynamodb.execute(
        dynamodb.update(
            TABLE, _key(server_name), "SET retry_at_ms = :retry_at", values={":retry_at": retry_at_ms}
        )
    )


def clear(server_name: ServerName) -> None:
    """Record that a server answers, by deleting its item."""
    dynamodb.execute(dynamodb.delete(TABLE, _key(server_name)))


def _parse(item: StoredItem | None) -> Health:
    names = ("failing_since_ms", "last_failure_ms", "retry_at_ms", "interval_ms")
    return Health(*(int((item or {}).get(name, 0)) for name in names))


def _key(server_name: ServerName) -> dict[str, str]:
    return {"server_name": server_name, "sk": "health"}
