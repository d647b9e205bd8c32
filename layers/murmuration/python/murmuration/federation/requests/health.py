"""Records which servers don't answer, and when to ask them again.

After the first failure, a server isn't asked for 10 minutes. Each further failure makes that time 2 to 5
times longer, up to a day. Any answer of the server, or any valid request from it, ends the wait. The record
is in a table that all functions share; a process caches for half a minute that a server is healthy.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import TYPE_CHECKING

from murmuration.cache import LruCache
from murmuration.clock import now_ms
from murmuration.storage.servers import backlogs, destinations
from murmuration.storage.servers.destinations import Health

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import ServerName

FIRST_MS = 10 * 60_000
LONGEST_MS = 24 * 3_600_000
REMEMBERED_MS = 30_000
AGAIN_MS = 60_000
"""A user's request is tried once more if the last failure is older than this."""
LONGEST_HOLD_MS = 3_600_000

_seen: LruCache[str, tuple[int, Health]] = LruCache(5000)


def of(server_name: ServerName) -> Health:
    """Return the server's health: its last outcome. At most one read in half a minute for each process."""
    now, remembered = now_ms(), _seen.get(server_name)
    if remembered is not None and now - remembered[0] < REMEMBERED_MS:
        return remembered[1]
    found = destinations.read(server_name)
    _seen.put(server_name, (now, found))
    return found


def learn(server_names: Iterable[ServerName], *, anew: bool = False) -> None:
    """Read the health of several servers, except those read recently; with `anew`, of all. One request for
    each 100.
    """
    now = now_ms()
    wanted = [
        name
        for name in server_names
        if anew or (known := _seen.get(name)) is None or now - known[0] >= REMEMBERED_MS
    ]
    for name, found in destinations.read_many(wanted).items():
        _seen.put(name, (now, found))


def may_ask(health: Health, *, for_user: bool) -> bool:
    """Return whether a server may be asked now. If a user waits, one minute after a failure is enough."""
    now = now_ms()
    if now >= health.retry_at_ms:
        return True
    return for_user and 0 < health.last_failure_ms < now - AGAIN_MS


def failed(server_name: ServerName, started_ms: int) -> None:
    """Record that the server didn't answer a request that began at `started_ms`."""
    before, now = of(server_name), now_ms()
    grown = int(before.interval_ms * random.uniform(2, 5))
    interval = min(grown, LONGEST_MS) if before.failing_since_ms else int(FIRST_MS * random.uniform(1, 1.2))
    found = Health(before.failing_since_ms or now, now, now + interval, interval)
    if destinations.write_failure(server_name, found, started_ms):
        _seen.put(server_name, (now, found))
    else:
        _seen.put(server_name, (now, destinations.read(server_name)))


def held(server_name: ServerName, wait_ms: int) -> None:
    """Record that the server asked not to be sent requests for `wait_ms`."""
    now, before = now_ms(), of(server_name)
    retry_at = now + min(max(wait_ms, 1000), LONGEST_HOLD_MS)
    destinations.hold(server_name, retry_at)
    found = Health(before.failing_since_ms, before.last_failure_ms, retry_at, before.interval_ms)
    _seen.put(server_name, (now, found))


def well(server_name: ServerName) -> None:
    """Record that a server answered, or sent a valid request. Writes only if the server was known to fail.

    The schedule then sends the events that wait for the server, within a minute.
    """
    if of(server_name) != Health():
        destinations.clear(server_name)
        backlogs.hasten(server_name)
        _seen.put(server_name, (now_ms(), Health()))


def forget() -> None:
    """Forget what this process has cached; the table keeps it."""
    _seen.clear()
