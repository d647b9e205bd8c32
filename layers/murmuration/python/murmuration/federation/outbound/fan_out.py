"""Sends new events to many servers at once.

A server that gets them costs no write. One that doesn't is behind from then on (`storage.servers.backlogs`):
it gets nothing here until it has caught up, and costs nothing but two reads.
"""

from __future__ import annotations

from collections.abc import Sequence

from murmuration.clock import now_ms
from murmuration.federation.outbound import pokes, room_logs, transactions
from murmuration.federation.outbound.refusals import next_try_ms
from murmuration.federation.outbound.transactions import Outcome, Part, Transaction
from murmuration.federation.requests import health
from murmuration.federation.requests.threads import side_by_side
from murmuration.storage.servers import backlogs
from murmuration.storage.servers.backlogs import Backlog

SECONDS = 20.0
"""What a server has for its answer: the others of its group wait so long at most."""


def send_new(room_id: str, ordinals: Sequence[int], servers: Sequence[str], made_ms: int) -> None:
    """Send events of a room's log to servers, but to those that are behind; who fails is behind from now on.

    May be done twice: it is the same transaction then, and other servers know events by their IDs.
    """
    behind = backlogs.read_all(servers)
    up_to_date = [name for name in servers if name not in behind]
    up_to_date += _owe(room_id, ordinals[0], behind)
    events = room_logs.read_events(room_id, ordinals) if up_to_date else []
    if not events:
        return
    health.learn(up_to_date)
    transaction = Transaction(made_ms, (Part(room_id, tuple(ordinals), ordinals[-1] + 1),))
    content = transactions.body(made_ms, events)

    def send(name: str) -> None:
        outcome = transactions.send(name, transaction.txn_id, content, seconds=SECONDS)
        if outcome in (Outcome.DELIVERED, Outcome.EXCLUDED):
            return
        refusals = 1 if outcome is Outcome.REFUSED else 0
        backlogs.open_backlog(
            name,
            room_id,
            ordinals[0],
            now_ms=now_ms(),
            due_ms=next_try_ms(refusals) if refusals else transactions.again_ms(name),
            sending=transaction.to_json(),
            refusals=refusals,
        )

    side_by_side(send, up_to_date, most=pokes.SERVERS_AT_ONCE)


def _owe(room_id: str, ordinal: int, behind: dict[str, Backlog]) -> list[str]:
    """Note that servers which are behind get an event later; those that have caught up just now.

    While a backlog is at rest, and something of the room is owed already, there is nothing to be noted.
    """
    if not behind:
        return []
    resting = [name for name, backlog in behind.items() if not backlog.claim]
    noted = backlogs.read_owing(resting, room_id)
    caught_up = [name for name in behind if name not in noted and not backlogs.owe(name, room_id, ordinal)]
    pokes.resume(_recovered([name for name in resting if name not in caught_up], behind))
    return caught_up


def _recovered(names: Sequence[str], behind: dict[str, Backlog]) -> list[str]:
    """Those servers that answer again, or have sent a request, since they failed. `names` are at rest."""
    health.learn(names, anew=True)
    now = now_ms()
    return [name for name in names if not behind[name].refusals and health.of(name).retry_at_ms <= now]
