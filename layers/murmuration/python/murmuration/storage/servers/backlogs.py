"""What other servers haven't got yet: three kinds of items in the table `destinations`.

Besides rooms' logs there are other logs (`federation.outbound.logs`), whose IDs are used in place of a room's
ID.

- `backlog`: the server is behind. Only the worker that has its claim sends to it.
- `owed#<room>`: the first event of the room's log that the server hasn't got (`ordinal`). `touched` counts
how
  often that was recorded, so that a worker that has read the log to its end learns whether there is more now.
- in the partition `#due`, the server's name: when it is to be tried again (`due_ms`). Only servers that are
  behind are in there: it is the sparse index that the schedule reads.

A server that is up to date has none of these. If no worker has the backlog's claim and the room is owed
already, nothing needs to be written: the worker reads the room's log after its claim, so it finds the new
event. While the claim is held, or looks as if it were, each new event is recorded, because the worker may
have read the log before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Item, StoredItem, Values, Write
from murmuration.storage.servers import outgoing_messages

if TYPE_CHECKING:
    from typing import Literal

    from murmuration.protocol.identifiers import RoomId, ServerName, UserId
    from murmuration.storage.json_types import StoredTransaction

    LogId = RoomId | UserId | Literal[">"]
    """The ID of a room's log, of the log of a user's devices, or of a server's messages."""

TABLE = "destinations"
DUE = "#due"
"""The partition key of the servers to try again. No server has this name."""
OWED = "owed#"
"""The prefix of the sort keys of owed logs."""
_BACKLOG = "backlog"
_CLAIM = "claim"


@dataclass(frozen=True, slots=True)
class Backlog:
    """A server that is behind.

    `since_ms` is when it first missed something. `sending` is the transaction that it may have got but hasn't
    confirmed: it must be sent again unchanged. `refusals` counts how often the server refused that. `claim`
    is that of the worker that sends to it, "" if none does. `version` increases with everything newly owed.
    """

    server_name: ServerName
    since_ms: int
    version: int
    claim: str = ""
    sending: StoredTransaction | None = None
    refusals: int = 0


@dataclass(frozen=True, slots=True)
class Owed:
    """The first event of a room's log that a server hasn't got."""

    room_id: LogId
    ordinal: int
    touched: int


@dataclass(frozen=True, slots=True)
class Move:
    """The progress in a room: everything before `ordinal` is sent; the whole log, if `touched` is still the
    count.
    """

    room_id: LogId
    ordinal: int
    touched: int | None = None


def _key(server_name: ServerName, sk: str = _BACKLOG) -> dict[str, str]:
    return {"server_name": server_name, "sk": sk}


def _owed_key(server_name: ServerName, room_id: LogId) -> dict[str, str]:
    return _key(server_name, OWED + room_id)


def _due_key(server_name: ServerName) -> dict[str, str]:
    return {"server_name": DUE, "sk": server_name}


def _parse(item: StoredItem) -> Backlog:
    return Backlog(
        item["server_name"],
        item["since_ms"],
        item["version"],
        item.get("claim", ""),
        json.loads(item["sending"]) if "sending" in item else None,
        item.get("refusals", 0),
    )


# -- Reading ---------------------------------------------------------------------------------------------


def read(server_name: ServerName) -> Backlog | None:
    """Return a server's backlog; None if the server is up to date."""
    return read_all([server_name]).get(server_name)


def read_all(server_names: Sequence[ServerName]) -> dict[ServerName, Backlog]:
    """Return the backlogs of those servers that are behind. One request for 100."""
    items = dynamodb.batch_get({TABLE: [_key(name) for name in server_names]})[TABLE] if server_names else []
    return {item["server_name"]: _parse(item) for item in items}


def read_owing(server_names: Sequence[ServerName], room_id: LogId) -> set[str]:
    """Return which of the servers still lack something of a room."""
    if not server_names:
        return set()
    items = dynamodb.batch_get({TABLE: [_owed_key(name, room_id) for name in server_names]})[TABLE]
    return {item["server_name"] for item in items}


def read_owed(server_name: ServerName, *, limit: int | None = None) -> list[Owed]:
    """Return the first unsent event of each log for a server, sorted by room."""
    items = dynamodb.query(
        TABLE,
        "server_name = :server AND begins_with(sk, :prefix)",
        {":server": server_name, ":prefix": OWED},
        limit=limit,
    )
    return [Owed(item["sk"].removeprefix(OWED), item["ordinal"], item["touched"]) for item in items]


def read_waiting() -> list[tuple[ServerName, int]]:
    """Return all servers that are behind, and when to try each again. Eventually consistent."""
    items = dynamodb.query(TABLE, "server_name = :due", {":due": DUE}, consistent=False)
    return [(item["sk"], item["due_ms"]) for item in items]


# -- Being behind ----------------------------------------------------------------------------------------


def open_backlog(
    server_name: ServerName,
    room_id: LogId,
    ordinal: int,
    *,
    now_ms: int,
    due_ms: int,
    sending: StoredTransaction,
    refusals: int = 0,
) -> None:
    """Record that a server didn't get an event and what follows it. It is tried again at `due_ms`.

    `sending` is the transaction that failed, `refusals` how often it was refused. If the server has a backlog
    already, the transaction in it is kept.
    """
    values: Values = {":now": now_ms, ":sending": json.dumps(sending), ":refusals": refusals, ":one": 1}
    expression = (
        "SET since_ms = if_not_exists(since_ms, :now), sending = if_not_exists(sending, :sending),"
        " refusals = if_not_exists(refusals, :refusals) ADD version :one"
    )
    dynamodb.transact(
        [
            _owed_write(server_name, room_id, ordinal),
            dynamodb.update(TABLE, _key(server_name), expression, values=values),
            _due_write(server_name, due_ms),
        ]
    )


def owe(server_name: ServerName, room_id: LogId, ordinal: int) -> bool:
    """Record an event that a server which is behind gets later. Returns False if it isn't behind any more."""
    still = dynamodb.update(
        TABLE,
        _key(server_name),
        "ADD version :one",
        values={":one": 1},
        condition="attribute_exists(since_ms)",
    )
    try:
        dynamodb.transact([_owed_write(server_name, room_id, ordinal), still.named("still")])
    except ConditionFailed:
        return False
    return True


def _owed_write(server_name: ServerName, room_id: LogId, ordinal: int) -> Write:
    return dynamodb.update(
        TABLE,
        _owed_key(server_name, room_id),
        "SET #ordinal = if_not_exists(#ordinal, :ordinal) ADD touched :one",
        names={"#ordinal": "ordinal"},
        values={":ordinal": ordinal, ":one": 1},
    )


def _due_write(server_name: ServerName, due_ms: int) -> Write:
    return dynamodb.put(TABLE, {**_due_key(server_name), "due_ms": due_ms})


# -- Sending it -----------------------------------------------------------------------------------------


def claim(server_name: ServerName, nonce: str, *, now_ms: int, until_ms: int) -> Backlog | None:
    """Claim a server's backlog until a time. Returns None if there is none, or another worker has the claim.

    The server is due again at that time, in case the worker stops.
    """
    take = dynamodb.update(
        TABLE,
        _key(server_name),
        "SET claim = :claim, claimed_until_ms = :until ADD version :one",
        values={":claim": nonce, ":until": until_ms, ":now": now_ms, ":one": 1},
        condition="attribute_exists(since_ms) AND (attribute_not_exists(claim) OR claimed_until_ms < :now)",
    )
    with suppress(ConditionFailed):  # an earlier attempt may have written it, if its answer was lost
        dynamodb.transact([take.named(_CLAIM), _due_write(server_name, until_ms)])
    found = read(server_name)
    return found if found is not None and found.claim == nonce else None


def note_sending(backlog: Backlog, sending: StoredTransaction) -> None:
    """Store a transaction before it is sent. Raises ConditionFailed if the claim is lost."""
    values = {":sending": json.dumps(sending), ":claim": backlog.claim}
    dynamodb.execute(_of_claim(backlog, "SET sending = :sending", values))


def advance(backlog: Backlog, moves: Sequence[Move]) -> None:
    """Record the progress in rooms, and that no transaction is unconfirmed.

    Raises ConditionFailed if the claim is lost. The item of a room whose events were all sent is removed. If
    more events came meanwhile, it stays, and the first of them is next.
    """
    sent = _of_claim(backlog, "REMOVE sending, refusals", {":claim": backlog.claim})
    remaining = {move.room_id: move for move in moves}
    finished = {move.room_id for move in moves if move.touched is not None}
    while True:
        writes = [
            _strike_off(backlog, move) if move.room_id in finished else _move(backlog, move)
            for move in remaining.values()
        ]
        try:
            dynamodb.transact([sent.named(_CLAIM), *writes])
            return
        except ConditionFailed as error:
            refused = {room_id for room_id in finished if error.refused(room_id)}
            if error.refused(_CLAIM) or not refused:
                raise
            finished -= refused


def _strike_off(backlog: Backlog, move: Move) -> Write:
    return dynamodb.delete(
        TABLE,
        _owed_key(backlog.server_name, move.room_id),
        condition="attribute_not_exists(touched) OR touched = :touched",
        values={":touched": move.touched},
    ).named(move.room_id)


def _move(backlog: Backlog, move: Move) -> Write:
    return dynamodb.update(
        TABLE,
        _owed_key(backlog.server_name, move.room_id),
        "SET #ordinal = :ordinal ADD touched :none",
        names={"#ordinal": "ordinal"},
        values={":ordinal": move.ordinal, ":none": 0},
    )


def rest(backlog: Backlog, *, due_ms: int, refusals: int) -> None:
    """Release the claim, and have the server tried again at a time.

    Raises ConditionFailed if the claim is lost.
    """
    given_back = _of_claim(
        backlog,
        "SET refusals = :refusals REMOVE claim, claimed_until_ms",
        {":claim": backlog.claim, ":refusals": refusals},
    )
    dynamodb.transact([given_back.named(_CLAIM), _due_write(backlog.server_name, due_ms)])


def close(backlog: Backlog) -> bool:
    """Delete the backlog of a server that is up to date.

    Returns False if more is owed since `backlog` was read.
    """
    gone = dynamodb.delete(
        TABLE,
        _key(backlog.server_name),
        condition="claim = :claim AND version = :version",
        values={":claim": backlog.claim, ":version": backlog.version},
    )
    try:
        dynamodb.transact([gone.named(_CLAIM), dynamodb.delete(TABLE, _due_key(backlog.server_name))])
    except ConditionFailed:
        return False
    return True


def _of_claim(backlog: Backlog, expression: str, values: Values) -> Write:
    return dynamodb.update(
        TABLE, _key(backlog.server_name), expression, values=values, condition="claim = :claim"
    )


# -- The time of the next attempt ------------------------------------------------------------------------


def hasten(server_name: ServerName) -> bool:
    """Make workers try a server that is behind at the next opportunity. Returns False if it is up to date."""
    return _set_due(server_name, 0, "attribute_exists(due_ms)", {})


def postpone(server_name: ServerName, due_ms: int, until_ms: int) -> bool:
    """Postpone a server's next attempt if it still is `due_ms`. Returns False if another caller did
    so first.
    """
    return _set_due(server_name, until_ms, "due_ms = :before", {":before": due_ms})


def _set_due(server_name: ServerName, due_ms: int, condition: str, values: Values) -> bool:
    write = dynamodb.update(
        TABLE,
        _due_key(server_name),
        "SET due_ms = :due",
        values={":due": due_ms, **values},
        condition=condition,
    )
    return dynamodb.try_execute(write)


def drop(server_name: ServerName) -> int:
    """Delete everything that is owed to a server, even if a worker has the claim. Returns the number of its
    logs.
    """
    owed: Iterable[Item] = dynamodb.query(
        TABLE,
        "server_name = :server AND begins_with(sk, :prefix)",
        {":server": server_name, ":prefix": OWED},
    )
    keys = [_key(server_name, item["sk"]) for item in owed]
    dynamodb.execute(dynamodb.delete(TABLE, _key(server_name)))
    dynamodb.batch_write([dynamodb.delete(TABLE, key) for key in [*keys, _due_key(server_name)]])
    outgoing_messages.remove_all(server_name)
    return len(keys)
