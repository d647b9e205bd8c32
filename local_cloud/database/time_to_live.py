"""DynamoDB's time to live: deletes expired items each minute. dynoxide stores the setting but doesn't apply
it.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

INTERVAL = 60.0
_FIVE_YEARS = 5 * 365 * 86_400


def expired(database: Path, now: float) -> Iterator[tuple[str, str, dict[str, Any], str]]:
    """Yield each expired item: its table, the attribute with its time, its key, the attribute's value.

    As in DynamoDB, items whose time is more than five years past don't expire.
    """
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, isolation_level=None, timeout=10)
    try:
        tables = connection.execute(
            "SELECT table_name, ttl_attribute, key_schema FROM _tables"
            " WHERE ttl_enabled AND ttl_attribute IS NOT NULL"
        ).fetchall()
        for table, attribute, schema in tables:
            path = '$."' + attribute.replace('"', "") + '".N'
            name = table.replace('"', '""')
            items = connection.execute(
                f'SELECT item_json, json_extract(item_json, ?) FROM "{name}"'  # noqa: S608 - a table's name
                " WHERE CAST(json_extract(item_json, ?) AS REAL) BETWEEN ? AND ?",
                (path, path, now - _FIVE_YEARS, now),
            )
            for text, value in items.fetchall():
                item = json.loads(text)
                key = {part["AttributeName"]: item[part["AttributeName"]] for part in json.loads(schema)}
                yield table, attribute, key, str(value)
    finally:
        connection.close()


def sweep(database: Path, client: Any) -> int:
    """Delete expired items, unless their time was extended meanwhile. Returns how many were deleted."""
    count = 0
    for table, attribute, key, value in expired(database, time.time()):
        try:
            client.delete_item(
                TableName=table,
                Key=key,
                ConditionExpression="#expires = :then",
                ExpressionAttributeNames={"#expires": attribute},
                ExpressionAttributeValues={":then": {"N": value}},
            )
        except client.exceptions.ConditionalCheckFailedException:
            continue
        count += 1
    return count


class Sweeper:
    """Sweeps at an interval, in a thread."""

    def __init__(self, database: Path, client: Any) -> None:
        self._database = database
        self._client = client
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="time-to-live", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL):
            sweep(self._database, self._client)
