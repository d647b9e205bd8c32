"""Sends new events to many servers at once.

A server that accepts them costs no write. A server that fails is marked as behind
(`storage.servers.backlogs`). Until it has caught up it is left out here, which costs two reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from murmuration.clock import now_ms
from murmuration.federation.outbound import logs, pokes, transactions
from murmuration.federation.outbound.refusals import next_try_ms
from murmuration.federation.outbound.transactions import Outcome, Part, Transaction
from murmuration.federation.requests import health
from murmuration.federation.requests.threads import side_by_side
from murmuration.protocol.identifiers import ServerName
from murmuration.storage.servers import backlogs
from murmuration.storage.servers.backlogs import Backlog, Owed

if TYPE_CHECKING:
    from murmuration.federation.shapes import Edu, TransactionBody
    from murmuration.storage.servers.backlogs import LogId

SECONDS = 20.0
"""The time limit for a server's answer, which is also the longest that the others of its group wait."""
BUDGET_MS = 40_000
"""For how long a worker sends messages to one server; after that another worker continues."""
PASSING_SECONDS = 8.0
PASSED_MS = 60_000
"""After this time a typing notification is useless."""


def send_new(room_id: LogId, ordinals: Sequence[int], servers: Sequence[ServerName], made_ms: int) -> None:
    """Send new entries of a log to servers, except those that are behind. A server that fails is marked as
    behind.

    `room_id` is the ID of a room's log, or of a user's (`logs`). Safe to repeat: the transaction ID is the
    same then, and other servers recognise events by their IDs.
    """
    behind = backlogs.read_all(servers)
    up_to_date = [name for name in servers if name not in behind]
    up_to_date += _owe(room_id, ordinals[0], behind)
    since = 0 if logs.is_room(room_id) else ordinals[0]
    transaction = Transaction(made_ms, (Part(room_id, tuple(ordinals), ordinals[-1] + 1, since=since),))
    found = logs.read_content(ServerName(""), transaction.parts) if up_to_date else logs.Content()
    if found.is_empty:
        return
    health.learn(up_to_date)
    content = transactions.body(made_ms, found.events, found.edus)
    side_by_side(lambda name: _send(name, transaction, content), up_to_date, most=pokes.SERVERS_AT_ONCE)


def _send(name: ServerName, transaction: Transaction, content: TransactionBody) -> bool:
    """Send a transaction of one part. If the server fails, mark it as behind. Returns whether the entry is
    dealt with.
    """
    outcome = transactions.send(name, transaction.txn_id, content, seconds=SECONDS)
    if outcome in (Outcome.DELIVERED, Outcome.EXCLUDED):
        return True
    refusals = 1 if outcome is Outcome.REFUSED else 0
    (part,) = transaction.parts
    backlogs.open_backlog(
        name,
        part.room_id,
        part.ordinals[0],
        now_ms=now_ms(),
        due_ms=next_try_ms(refusals) if refusals else transactions.again_ms(name),
        sending=transaction.to_json(),
        refusals=refusals,
    )
    return False


def send_all_messages(server_names: Sequence[ServerName]) -> None:
    """Send servers their waiting to-device messages, all at the same time."""
    health.learn(server_names)
    side_by_side(send_messages, server_names, most=pokes.SERVERS_AT_ONCE)


def send_messages(server_name: ServerName) -> None:
    """Send a server its waiting to-device messages. If it is behind, add them to its backlog instead.

    Messages that it has confirmed are removed. If the worker stops before that, they are sent again, and the
    other server recognises them by their message IDs.
    """
    behind = backlogs.read_all([server_name])
    if behind and not _owe(logs.TO_DEVICE, 0, behind):
        return
    owed, started_ms = Owed(logs.TO_DEVICE, 0, 0), now_ms()
    while (pending := logs.read_pending(server_name, owed, only_newest=False)).places:
        places = tuple(place for place, _ in pending.places)
        transaction = Transaction(now_ms(), (Part(logs.TO_DEVICE, places, pending.until),))
        found = logs.read_content(server_name, transaction.parts)
        content = transactions.body(transaction.made_ms, found.events, found.edus)
        if not _send(server_name, transaction, content):
            return
        logs.confirm(server_name, transaction.parts)
        if now_ms() - started_ms > BUDGET_MS:
            pokes.order(list(pokes.messages_to([server_name])))
            return


def send_passing(edus: Sequence[Edu], servers: Sequence[ServerName], made_ms: int) -> None:
    """Send EDUs that are only useful now to those servers that are up to date. They are never sent later."""
    if now_ms() - made_ms > PASSED_MS:
        return
    behind = backlogs.read_all(servers)
    up_to_date = [name for name in servers if name not in behind]
    health.learn(up_to_date)
    content = transactions.body(made_ms, (), edus)
    txn_id = transactions.passing_id(made_ms, edus)
    side_by_side(
        lambda name: transactions.send(name, txn_id, content, seconds=PASSING_SECONDS),
        up_to_date,
        most=pokes.SERVERS_AT_ONCE,
    )


def _owe(room_id: LogId, ordinal: int, behind: dict[ServerName, Backlog]) -> list[ServerName]:
    """Note that servers which are behind get an event later. Returns those that have caught up just now.

    Nothing needs to be noted if no worker is sending the backlog and it has an entry for the room already.
    """
    if not behind:
        return []
    resting = [name for name, backlog in behind.items() if not backlog.claim]
    noted = backlogs.read_owing(resting, room_id)
    caught_up = [name for name in behind if name not in noted and not backlogs.owe(name, room_id, ordinal)]
    pokes.resume(_recovered([name for name in resting if name not in caught_up], behind))
    return caught_up


def _recovered(names: Sequence[ServerName], behind: dict[ServerName, Backlog]) -> list[ServerName]:
    """Return those servers that have answered again, or sent a request, since they failed.

    `names` are servers whose backlog no worker is sending.
    """
    health.learn(names, anew=True)
    now = now_ms()
    return [name for name in names if not behind[name].refusals and health.of(name).retry_at_ms <= now]
