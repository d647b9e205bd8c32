"""Budgets: how much a user, a server, or an address without an account may cost, in money rather than in
calls.

Each owner has one bucket that fills at the setting `hourly_budget` and holds what comes in `BURST_MS`. It is
the item `limit#budget#<owner>` of the table `transient`. The endpoint layer opens a `Bill` for each request.
The bill takes an estimate as soon as the owner is known, before the work. A domain that knows the cost better
takes more by `expect`. After the work the bill takes what is missing, or gives back what was too much. So
requests that run at the same time can't all pass a check before any of them is charged.

All other servers together have one more bucket, which fills at the setting `federation_budget`. The cost of
each server is counted in it too. While it is in debt, other servers are asked to come again later; local
users are served as usual.

A write for each request would cost as much as many requests do. So a process adds up an owner's amounts in
memory, and moves only whole quanta of `QUANTUM` microdollars to or from the bucket. It begins at a random
part of a quantum. The expected amount is therefore exact, however many processes there are and whenever they
end.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import ceil, floor
from typing import TYPE_CHECKING, Any, TypeVar

from murmuration.aws.calls import Usage, counting
from murmuration.clock import now_ms
from murmuration.identity.rate_limits import network
from murmuration.protocol.errors import LimitExceeded, TooLarge
from murmuration.settings import settings
from murmuration.storage.buckets import Bucket, Changed

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import ServerName

K = TypeVar("K")
V = TypeVar("V")

HOUR_MS = 3_600_000
MONTH_HOURS = 730
SERVER = "server "
FEDERATION = "federation"
"""The owner of the bucket of all other servers together."""
FEDERATION_BURST_MS = 3 * 24 * HOUR_MS
"""How much other servers may cost at once: what comes in three days."""
LONGEST_ASKED_MS = HOUR_MS
"""A server that was refused is asked to wait at most this long."""
BURST_MS = 1_500_000
"""How long an empty bucket takes to fill: 25 minutes. The content of a full one may be spent at once.

By default a full bucket has 100,000 microdollars. A first login with 2,000 backed-up keys costs about 6,000.
"""
QUANTUM = 250
"""The unit, in microdollars, of what a process moves to or from a bucket in one write."""
USUAL_MOST = 10_000
"""The most to which the last cost of a route may raise the next estimate."""
ATTEMPTS = 4
REMEMBERED = 10_000
REFUSAL_MS = 5_000
"""The maximum time for which a process refuses without reading the bucket again."""

# List prices in microdollars; a test compares them with `operators.costs.prices`.
READ_UNIT = 0.125
STORED_UNIT = 0.2
"""The cost of a write unit with a month's storage and backup: an item of 1 KB takes at least two units."""
WRITE_UNIT = 0.625 + STORED_UNIT
QUEUE_REQUEST = 0.4
GB_SECOND = 13.3334
REQUEST = 3.5 + 1.0 + 0.1 + 0.2
"""API Gateway, CloudFront and its viewer function, and the function's invocation."""
SENT_KB = 0.085
"""The price of each KB of an answer, through CloudFront."""
TO_ORIGIN_KB = 0.02
"""CloudFront's price for each KB of a request's body."""
OBJECT_PUT = 5.0
OBJECT_GET = 0.4
OBJECT_KB = 0.023
"""The price of storing a KB in the bucket for a month."""
WAKE = 18.0
"""The cost of ringing one waiting device: the ring, its registration, and the request that fetches
the news."""
REMOTE_WAKE = 2.5 * WAKE
"""What a ring costs the second bucket of a server whose user caused it.

So a server's rings may cost 0.4 of an hourly budget in an hour. Further rings come late (`delivery.wakes`).
"""
PUSH = 12.0
"""The cost of one notification to a push gateway: the message in the queue, the worker's run, its reads and
writes."""
ORDINARY = 8.0
"""The least amount that is taken before a request's work."""
BODY_KB = 3 * WRITE_UNIT
"""The cost of a KB of a request's body that is stored in a transaction and in an index."""

_lock = threading.Lock()
_parts: dict[str, float] = {}
"""By owner: the part of a quantum that this process hasn't moved yet."""
_full: dict[str, int] = {}
"""By owner: when the bucket will be full, as far as this process knows. Only a guess for the first write."""
_refused: dict[str, tuple[int, int]] = {}
"""By owner: until when this process refuses without reading the bucket, and when the bucket will be full."""
_usual: dict[tuple[str, str], float] = {}
"""By owner and route: the cost of the last request."""


# -- The bill of a request -------------------------------------------------------------------------------


class Bill:
    """The cost of one request, and the bucket that it is taken from."""

    def __init__(self, route: str, estimate: float, memory_mb: int) -> None:
        self.usage = Usage()
        self._route = route
        self._estimate = estimate
        self._memory_mb = memory_mb
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._owner: str | None = None
        self._taken = 0.0
        self._expected = 0.0
        self._more = 0.0
        self._is_refused = False

    def charge_to(self, owner: str) -> None:
        """Take the estimate from the bucket of `owner`, an authenticated user or server.

        Only the first call has an effect. Raises LimitExceeded.
        """
        if self._owner is None:
            if owner.startswith(SERVER):
                _require_federation_budget()
            self._owner = owner
            usual = min(_usual.get((owner, self._route), 0.0), USUAL_MOST)
            try:
                self._take(max(self._estimate, usual))
            except LimitExceeded:
                self._is_refused = True
                raise

    @property
    def owner(self) -> str | None:
        """The owner who pays; None while no owner is authenticated."""
        return self._owner

    def expect(self, microdollars: float) -> None:
        """Take the cost of the coming work, minus what was taken for it already.

        If the bucket doesn't have it, nothing is taken. Raises LimitExceeded, TooLarge for more than a full
        bucket.
        """
        if self._owner is None:
            return
        with self._lock:
            self._expected += microdollars
            missing = self._expected - self._taken
        try:
            if missing > burst():
                raise TooLarge("This is more than one request may cost; send it in parts")
            if missing > 0:
                self._take(missing)
        except (LimitExceeded, TooLarge):
            with self._lock:
                self._expected -= microdollars
            raise

    def add(self, microdollars: float) -> None:
        """Add a cost that doesn't show in the calls of DynamoDB and SQS."""
        with self._lock:
            self._more += microdollars

    def cost(self) -> float:
        """Return the cost of the request so far, in microdollars."""
        seconds = time.monotonic() - self._started
        return (
            REQUEST
            + self._more
            + seconds * self._memory_mb / 1024 * GB_SECOND
            + self.usage.read_units * READ_UNIT
            + self.usage.write_units * WRITE_UNIT
            + self.usage.queue_requests * QUEUE_REQUEST
            + self.usage.object_puts * OBJECT_PUT
            + self.usage.object_reads * OBJECT_GET
            + self.usage.object_bytes / 1024 * OBJECT_KB
        )

    def settle(self, find_owner: Callable[[], str | None]) -> None:
        """Charge the difference between the cost and what was taken; nothing for a request that was refused
        at once.

        `find_owner` names the owner who pays if none is authenticated.
        """
        owner = self._owner or find_owner()
        if self._is_refused or owner is None:
            return
        cost = self.cost()
        _remember(_usual, (owner, self._route), cost)
        charge(owner, cost - self._taken)

    def _take(self, microdollars: float) -> None:
        take(self._owner or "", microdollars)
        with self._lock:
            self._taken += microdollars


_bill: ContextVar[Bill | None] = ContextVar("bill", default=None)


@contextmanager
def billing(route: str, *, estimate: float = ORDINARY, memory_mb: int = 512) -> Iterator[Bill | None]:
    """Count the cost of this context's work until the block ends. Yields the bill; None if rates aren't
    limited.
    """
    if not settings().rate_limits:
        yield None
        return
    bill = Bill(route, estimate, memory_mb)
    token = _bill.set(bill)
    try:
        with counting(bill.usage):
            yield bill
    finally:
        _bill.reset(token)


def is_billing() -> bool:
    """Return whether the current work is billed."""
    return _bill.get() is not None


def charge_to(owner: str) -> None:
    """Bill this request to `owner`, an authenticated user or server. Raises LimitExceeded."""
    bill = _bill.get()
    if bill is not None:
        bill.charge_to(owner)


def expect(microdollars: float) -> None:
    """Take the cost of the coming work of this request. Raises LimitExceeded, TooLarge.

    Call it before the work, where the number of writes or wake-ups is known.
    """
    bill = _bill.get()
    if bill is not None:
        bill.expect(microdollars)


def expect_writes(sizes: Iterable[int], *, indexed: bool = False) -> None:
    """Take the cost of a transaction that writes items of these sizes in bytes. Raises LimitExceeded,
    TooLarge.
    """
    each = 3 if indexed else 2
    expect(WRITE_UNIT * sum(each * max(1, ceil(size / 1024)) for size in sizes))


def pay_now(owner: str) -> None:
    """Take the cost of an ordinary request from a bucket, before its user is known. Raises LimitExceeded."""
    if is_billing():
        take(owner, ORDINARY)


def add(microdollars: float) -> None:
    """Add a cost of this request that doesn't show in the calls of DynamoDB and SQS."""
    bill = _bill.get()
    if bill is not None:
        bill.add(microdollars)


def address_owner(address: str) -> str:
    """Return the owner of the bucket for an address without an account; all of an IPv6 /64 is one owner."""
    return f"address {network(address)}"


def server_owner(server_name: ServerName) -> str:
    """Return the owner of the bucket of another server: it pays for its requests, and for work on its
    events.
    """
    return f"{SERVER}{server_name}"


def rings_owner(server_name: ServerName) -> str:
    """Return the owner of another server's second bucket, which pays for rings. If it is empty, rings come
    late.
    """
    return f"rings of {server_name}"


# -- Buckets ---------------------------------------------------------------------------------------------


def in_ms(microdollars: float, owner: str = "") -> int:
    """Return in how many milliseconds an amount comes back into an owner's bucket."""
    hourly: float = settings().hourly_budget
    if owner == FEDERATION:
        hourly = settings().federation_budget * 1_000_000 / MONTH_HOURS
    return ceil(microdollars * HOUR_MS / hourly)


def _burst_ms(owner: str) -> int:
    return FEDERATION_BURST_MS if owner == FEDERATION else BURST_MS


def burst() -> int:
    """Return how many microdollars a full bucket has."""
    return settings().hourly_budget * BURST_MS // HOUR_MS


def take(owner: str, microdollars: float) -> None:
    """Take an amount from a bucket before the work. Raises LimitExceeded if the bucket has less.

    This process adds up small amounts in memory, and writes to the bucket only whole quanta.
    """
    quanta = _whole_quanta(owner, microdollars)
    if quanta <= 0:
        _move_back(owner, -quanta)
        _count_for_all_servers(owner, microdollars)
        return
    try:
        _draw(owner, quanta * QUANTUM, forced=False)
    except LimitExceeded:
        with _lock:
            _parts[owner] = _parts.get(owner, 0.0) + quanta * QUANTUM - microdollars
        raise
    _count_for_all_servers(owner, microdollars)


def charge(owner: str, microdollars: float) -> None:
    """Charge an amount that was spent already, or give back a negative one. The bucket may go into debt."""
    if not settings().rate_limits:
        return
    quanta = _whole_quanta(owner, microdollars)
    if quanta > 0:
        _draw(owner, quanta * QUANTUM, forced=True)
    else:
        _move_back(owner, -quanta)
    _count_for_all_servers(owner, microdollars)


def _count_for_all_servers(owner: str, microdollars: float) -> None:
    """Charge a server's cost, or give it back, to the bucket of all servers too."""
    if owner.startswith(SERVER) and settings().federation_budget:
        charge(FEDERATION, microdollars)


def _require_federation_budget() -> None:
    """Raise LimitExceeded if the other servers together are in debt, as far as this process knows.

    A process learns of the debt whenever it moves a quantum of theirs, so a few requests of each process
    pass.
    """
    wait_ms = _full.get(FEDERATION, 0) - now_ms() - FEDERATION_BURST_MS
    if wait_ms > 0 and settings().federation_budget:
        raise LimitExceeded(
            "Other servers have cost too much for now", retry_after_ms=min(wait_ms, LONGEST_ASKED_MS)
        )


def affords(owner: str, microdollars: float) -> bool:
    """Take an amount if the bucket has it, and return whether it has. Without rate limits this is always
    True.
    """
    if not settings().rate_limits:
        return True
    try:
        take(owner, microdollars)
    except LimitExceeded:
        return False
    return True


def _whole_quanta(owner: str, microdollars: float) -> int:
    """Add `microdollars` to what this process hasn't moved yet, and return the whole quanta to move now."""
    with _lock:
        part = _parts.pop(owner, None)
        if part is None:
            part = random.random() * QUANTUM
        part += microdollars
        quanta = floor(part / QUANTUM)
        _remember(_parts, owner, part - quanta * QUANTUM)
    return quanta


def _draw(owner: str, microdollars: int, *, forced: bool) -> None:
    cost_ms, now, burst_ms = in_ms(microdollars, owner), now_ms(), _burst_ms(owner)
    until, full_ms = _refused.get(owner, (0, 0))
    if not forced and now < until:
        _raise_if_over(full_ms, cost_ms, now)
    full_ms = _full.get(owner, 0)
    most_ms = None if forced else now + burst_ms - cost_ms
    for _ in range(ATTEMPTS):
        try:
            full_ms = bucket(owner).take(cost_ms, now, full_ms=full_ms, most_ms=most_ms)
        except Changed as changed:
            full_ms = changed.full_ms
            if not forced and full_ms + cost_ms - now > burst_ms:
                _remember(_refused, owner, (now + REFUSAL_MS, full_ms))
                _raise_if_over(full_ms, cost_ms, now)
            continue
        _remember(_full, owner, full_ms)
        return


def _raise_if_over(full_ms: int, cost_ms: int, now: int) -> None:
    wait_ms = full_ms + cost_ms - now - BURST_MS
    if wait_ms > 0:
        raise LimitExceeded("Your requests have cost too much for now", retry_after_ms=wait_ms)


def _move_back(owner: str, quanta: int) -> None:
    """Give quanta back to the bucket. A bucket that is full or doesn't exist stays as it is."""
    if quanta <= 0:
        return
    full_ms = bucket(owner).put_back(in_ms(quanta * QUANTUM, owner), now_ms())
    if full_ms is not None:
        _remember(_full, owner, full_ms)
        _refused.pop(owner, None)


def _remember(found: dict[K, V], key: K, value: V) -> None:
    if len(found) >= REMEMBERED:
        found.clear()
    found[key] = value


def bucket(owner: str) -> Bucket:
    """Return the bucket that holds an owner's budget."""
    return Bucket(f"budget#{owner}")


def forget() -> None:
    """Forget what this process knows about owners, as in a process that has just started."""
    remembered: tuple[dict[Any, Any], ...] = (_parts, _full, _refused, _usual)
    for found in remembered:
        found.clear()
