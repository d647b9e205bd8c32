"""Users' reports: items of the partition `reports` of the table `directory`, sorted by time."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Item

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId, RoomId, UserId

TABLE = "directory"
PARTITION = "reports"


@dataclass(frozen=True, slots=True)
class Report:
    """A report and its reason: about a user, a room, or an event in a room with its sender.

    The storage assigns `id`.
    """

    at_ms: int
    reporter: str
    reason: str
    room_id: RoomId | None = None
    event_id: EventId | None = None
    user_id: UserId | None = None
    id: str = ""


def add(report: Report) -> None:
    about = {"room_id": report.room_id, "event_id": report.event_id, "user_id": report.user_id}
    item: Item = {
        "pk": PARTITION,
        "sk": f"{report.at_ms}-{secrets.token_hex(4)}",
        "at_ms": report.at_ms,
        "reporter": report.reporter,
        "reason": report.reason,
        **{name: value for name, value in about.items() if value is not None},
    }
    dynamodb.execute(dynamodb.put(TABLE, item))


def read_all() -> list[Report]:
    """Return every report, the oldest first."""
    found = dynamodb.query(TABLE, "pk = :reports", {":reports": PARTITION})
    return [
        Report(
            item["at_ms"],
            item["reporter"],
            item["reason"],
            item.get("room_id"),
            item.get("event_id"),
            item.get("user_id"),
            item["sk"],
        )
        for item in found
    ]


def delete(report_id: str) -> bool:
    """Delete a report. Returns False if there is none."""
    key = {"pk": PARTITION, "sk": report_id}
    deletion = dynamodb.delete(TABLE, key)
    return dynamodb.execute(deletion, returning="ALL_OLD") is not None
