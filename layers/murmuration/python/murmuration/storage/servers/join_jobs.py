"""Joins through other servers, which may take longer than a request: one item for each in `transient`.

A client's request begins a job, and the worker that claims it does the work. No other worker can claim it
meanwhile; if the worker stops, its claim expires. The outcome is kept for the requests that wait.
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
    from murmuration.protocol.identifiers import RoomId, ServerName, UserId
    from murmuration.storage.json_types import JoinFailure

TABLE = "transient"
QUEUED_MS = 60_000
"""How long a job may wait for a worker's claim before a repeated request begins it again."""
LIFETIME_S = 3600


@dataclass(frozen=True, slots=True)
class Job:
    """A user's join to a room through `servers`; `content` is the content of the join.

    With `afresh` the state that those servers send replaces the state known here. `outcome` is "" until the
    job ends, then "joined" or "failed"; `error` has the status and the body of the failure.
    """

    user_id: UserId
    room_id: RoomId
    servers: Sequence[ServerName] = ()
    content: Content = field(default_factory=dict)
    begun_ms: int = 0
    outcome: str = ""
    error: JoinFailure | None = None
    afresh: bool = False


def _key(user_id: UserId, room_id: RoomId) -> dict[str, str]:
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
    """Begin a job. Returns False if the same job is in progress: wait for that one."""
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


def read(user_id: UserId, room_id: RoomId) -> Job | None:
    """Return the job in its current state; None if there is none."""
    item = dynamodb.get(TABLE, _key(user_id, room_id))
    return _job(item) if item is not None else None


def claim(user_id: UserId, room_id: RoomId, now_ms: int, until_ms: int) -> Job | None:
    """Claim a job until `until_ms`, and return it.

    Returns None if it is over, claimed by another worker, or gone.
    """
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


def renew(job: Job, until_ms: int) -> None:
    """Extend a claim until `until_ms`. Does nothing if the job has ended, or was begun again meanwhile."""
    dynamodb.try_execute(
        dynamodb.update(
            TABLE,
            _key(job.user_id, job.room_id),
            "SET until_ms = :until",
            values={":until": until_ms, ":begun": job.begun_ms},
            condition="begun_ms = :begun AND attribute_not_exists(outcome)",
        )
    )


def put_back(job: Job, now_ms: int) -> None:
    """End the claim of a job that is tried again later. Does nothing if the job was begun again meanwhile."""
    dynamodb.try_execute(
        dynamodb.update(
            TABLE,
            _key(job.user_id, job.room_id),
            "SET until_ms = :until REMOVE claimed",
            values={":until": now_ms + QUEUED_MS, ":begun": job.begun_ms},
            condition="begun_ms = :begun AND attribute_not_exists(outcome)",
        )
    )


def finish(job: Job, outcome: str, error: JoinFailure | None = None) -> None:
    """Store the outcome of a job for the requests that wait. Does nothing if the job was begun again
    meanwhile.
    """
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
