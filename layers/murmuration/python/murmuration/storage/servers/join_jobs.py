"""Joins of rooms that others are in, which may take longer than a request: one item each, in `transient`.

A job is begun by the request of a client, and carried out by whoever claims it. While somebody is at work no
other claims it; if they stop, their claim ends by itself. What came of it stays for those who wait.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Item, Storable
from murmuration.protocol.encoding.shapes import Content

if TYPE_CHECKING:
    from murmuration.storage.json_types import JoinFailure

TABLE = "transient"
QUEUED_MS = 60_000
"""How long a job may wait for somebody to claim it before a repeated request begins it anew."""
LIFETIME_S = 3600


@dataclass(frozen=True, slots=True)
class Job:
    """Who is to join which room by which servers; `content` is what the join is to say.

    `afresh` has the state that those servers tell take the place of what is known here.

    `outcome` is "" while it isn't over, then "joined" or "failed"; `error` has the status and the body of
    the failure.
    """

    user_id: str
    room_id: str
    servers: Sequence[str] = ()
    content: Content = field(default_factory=dict)
    begun_ms: int = 0
    outcome: str = ""
    error: JoinFailure | None = None
    afresh: bool = False


def _key(user_id: str, room_id: str) -> dict[str, str]:
    return {"id": f"join#{user_id}#{room_id}"}


def _job(item: Item) -> Job:
    return Job(
        item["user_id"],
        item["room_id"],
        tuple(item["servers"]),
        json.loads(item["content"]),
        item["begun_ms"],
        item.get("outcome", ""),
        json.loads(error) if (error := item.get("error")) else None,
        item.get("afresh", False),
    )


def begin(job: Job, now_ms: int) -> bool:
    """Begin a job; False where the same is under way already, which is then to be waited for."""
    item = {
        **_key(job.user_id, job.room_id),
        "user_id": job.user_id,
        "room_id": job.room_id,
        "servers": list(job.servers),
        "content": json.dumps(dict(job.content), separators=(",", ":"), ensure_ascii=False),
        "begun_ms": now_ms,
        "until_ms": now_ms + QUEUED_MS,
        "expires": now_ms // 1000 + LIFETIME_S,
        **({"afresh": True} if job.afresh else {}),
    }
    return dynamodb.try_execute(
        dynamodb.put(
            TABLE,
            item,
            condition="attribute_not_exists(id) OR attribute_exists(outcome) OR until_ms < :now",
            values={":now": now_ms},
        )
    )


def read(user_id: str, room_id: str) -> Job | None:
    """The job as it stands; None where there is none."""
    item = dynamodb.get(TABLE, _key(user_id, room_id))
    return _job(item) if item is not None else None


def claim(user_id: str, room_id: str, now_ms: int, until_ms: int) -> Job | None:
    """Take a job on until then; None where it is over, somebody else's, or gone."""
    try:
        item = dynamodb.execute(
            dynamodb.update(
                TABLE,
                _key(user_id, room_id),
                "SET until_ms = :until, claimed = :yes, expires = :expires",
                values={
                    ":until": until_ms,
                    ":yes": True,
                    ":now": now_ms,
                    ":expires": until_ms // 1000 + LIFETIME_S,
                },
                condition="attribute_exists(id) AND attribute_not_exists(outcome)"
                " AND (attribute_not_exists(claimed) OR until_ms < :now)",
            ),
            returning="ALL_NEW",
        )
    except ConditionFailed:
        return None
    return _job(item) if item else None


def finish(job: Job, outcome: str, error: JoinFailure | None = None) -> None:
    """Say what came of a job, for those who wait for it. Nothing where it was begun anew meanwhile."""
    values: dict[str, Storable] = {":outcome": outcome, ":begun": job.begun_ms}
    change = "SET outcome = :outcome"
    if error is not None:
        change += ", #error = :error"
        values[":error"] = json.dumps(dict(error), separators=(",", ":"), ensure_ascii=False)
    try:
        dynamodb.execute(
            dynamodb.update(
                TABLE,
                _key(job.user_id, job.room_id),
                change,
                values=values,
                names={"#error": "error"} if error is not None else None,
                condition="begun_ms = :begun",
            )
        )
    except ConditionFailed:
        return
