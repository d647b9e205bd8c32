"""Sends a server the events and EDUs that it hasn't got, in order, one transaction after another.

One worker at a time serves a server: it holds the claim of the server's backlog. A transaction is stored
before it is sent, and any worker sends it again unchanged until the server confirms it. A server that failed
for less than an hour gets everything. After that it gets only the newest event of each room, the oldest of
these first, and requests earlier ones itself.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from murmuration.aws.dynamodb import ConditionFailed
from murmuration.clock import now_ms
from murmuration.federation.outbound import logs, pokes, transactions
from murmuration.federation.outbound.logs import Pending
from murmuration.federation.outbound.refusals import TRIES, next_try_ms
from murmuration.federation.outbound.transactions import (
    MOST_BYTES,
    MOST_EDUS,
    MOST_PDUS,
    Outcome,
    Part,
    Transaction,
)
from murmuration.federation.requests import health
from murmuration.storage.servers import backlogs
from murmuration.storage.servers.backlogs import Backlog, Move, Owed

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import ServerName

SECONDS = 50.0
CLAIM_MS = 150_000
"""How long a claim lasts: longer than a worker may run."""
BUDGET_MS = 40_000
"""No transaction begins after this time; another worker continues."""
EVERYTHING_MS = 3_600_000
"""A server that failed for less than this gets everything."""
ROOMS_AT_ONCE = 50


def catch_up(server_name: ServerName) -> None:
    """Send a server its backlog, until it is up to date or fails."""
    started = now_ms()
    backlog = backlogs.claim(server_name, secrets.token_hex(8), now_ms=started, until_ms=started + CLAIM_MS)
    if backlog is None:
        return  # it is up to date, or another worker is serving it
    health.learn([server_name], anew=True)
    try:
        while now_ms() - started < BUDGET_MS:
            if not _step(backlog):
                return
            found = backlogs.read(server_name)
            if found is None or found.claim != backlog.claim:
                return
            backlog = found
        backlogs.rest(backlog, due_ms=now_ms(), refusals=0)
        pokes.resume([server_name])
    except ConditionFailed:
        return  # it took so long that another worker has the claim by now, and continues


def _step(backlog: Backlog) -> bool:
    """Send one transaction. Returns False if nothing more can be sent now. Raises ConditionFailed if the
    claim is lost.
    """
    if backlog.sending is not None:
        transaction = Transaction.from_json(backlog.sending)
    else:
        transaction = _compose(backlog)
        if not transaction.parts:
            return not backlogs.close(backlog)
        if not transaction.is_empty:
            backlogs.note_sending(backlog, transaction.to_json())
    outcome = _send(backlog.server_name, transaction)
    refusals = backlog.refusals + 1 if outcome is Outcome.REFUSED else 0
    if outcome is Outcome.FAILED:
        backlogs.rest(backlog, due_ms=transactions.again_ms(backlog.server_name), refusals=0)
        return False
    if 0 < refusals < TRIES:
        backlogs.rest(backlog, due_ms=next_try_ms(refusals), refusals=refusals)
        return False
    logs.confirm(backlog.server_name, transaction.parts)
    backlogs.advance(backlog, [Move(part.room_id, part.until, part.touched) for part in transaction.parts])
    return True


def _send(server_name: ServerName, transaction: Transaction) -> Outcome:
    found = logs.read_content(server_name, transaction.parts)
    if found.is_empty:
        return Outcome.DELIVERED
    content = transactions.body(transaction.made_ms, found.events, found.edus)
    return transactions.send(server_name, transaction.txn_id, content, seconds=SECONDS)


def _compose(backlog: Backlog) -> Transaction:
    """Return the next transaction: of everything that is owed, or of the newest event of each room."""
    only_newest = now_ms() - backlog.since_ms > EVERYTHING_MS
    owed = backlogs.read_owed(backlog.server_name, limit=ROOMS_AT_ONCE)
    found = [(one, logs.read_pending(backlog.server_name, one, only_newest=only_newest)) for one in owed]
    found.sort(key=_first_ms)
    parts: list[Part] = []
    left = {False: MOST_PDUS, True: MOST_EDUS}
    bytes_left = MOST_BYTES
    for one, pending in found:
        part = _part(one, pending, left[pending.has_edus], bytes_left)
        parts.append(part)
        left[pending.has_edus] -= len(part.ordinals)
        taken = {*part.ordinals}
        bytes_left -= sum(size for place, size in pending.places if place in taken)
        if part.touched is None:
            break
    return Transaction(now_ms(), tuple(parts))


def _first_ms(of_log: tuple[Owed, Pending]) -> int:
    """Return the time of the first event for a server in a room; 0 if there is none, or the entries
    are EDUs.
    """
    pending: Pending = of_log[1]
    return pending.first_ms


def _part(owed: Owed, pending: Pending, count: int, left: int) -> Part:
    """Return the next entries for a transaction that has room for `count` events or EDUs and `left` bytes."""
    ordinals: list[int] = []
    for place, size in pending.places:
        left -= size
        if len(ordinals) == count or left < 0:
            until = place
            if pending.has_edus:  # from the last one on, so that the next EDU refers to it
                until = ordinals[-1] + 1 if ordinals else owed.ordinal
            return Part(owed.room_id, tuple(ordinals), until, since=pending.since)
        ordinals.append(place)
    touched = owed.touched if pending.is_all else None
    return Part(owed.room_id, tuple(ordinals), pending.until, touched, pending.since)
