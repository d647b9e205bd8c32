"""Faults of writes: failure before or after the write, or a repeated write after a lost answer.

Messages to queues are writes, too.
"""

from __future__ import annotations

import contextlib
import enum
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from murmuration.aws import calls
from murmuration.aws.calls import Answer, Call, Proceed, Unreachable

READS = frozenset(
    ("BatchGetItem", "GetItem", "Query", "Scan", "GetQueueAttributes", "GetQueueUrl", "ReceiveMessage")
)
RINGS = frozenset(("Invoke",))
"""A worker may miss that it is called: tests of queues have it."""


class Way(enum.Enum):
    """What becomes of the write."""

    BEFORE = "isn't carried out"
    AFTER = "is carried out, and nobody learns of it"
    TWICE = "is sent again, as its answer was lost"


@dataclass
class Fault:
    """Lets the write number `at` fail; `operations` are the writes that there were."""

    at: int
    way: Way
    operations: list[str] = field(default_factory=list)
    _counting: threading.Lock = field(default_factory=threading.Lock)

    @property
    def writes(self) -> int:
        return len(self.operations)

    def __call__(self, asked: Call, proceed: Proceed) -> Answer:
        if asked.operation in READS | RINGS:
            return proceed(asked)
        with self._counting:
            self.operations.append(asked.operation)
            is_it = self.writes == self.at
        if not is_it:
            return proceed(asked)
        if self.way is not Way.BEFORE:
            proceed(asked)
        if self.way is Way.TWICE:
            return proceed(asked)
        raise Unreachable("as the test wants it")


@contextlib.contextmanager
def fault(at: int, way: Way = Way.BEFORE) -> Iterator[Fault]:
    """Let one of the following writes, number `at` counted from 1, fail in this way. With 0, only count the
    writes.
    """
    found = Fault(at, way)
    calls.intercept(found, first=True)  # before what answers for the queues
    try:
        yield found
    finally:
        calls.release(found)


Do = Callable[[], Any]
Look = Callable[[], Any]


def ways_to_stop(whole: Fault) -> Iterator[tuple[int, Way]]:
    """Yield the number of each write of a whole run, with each way in which it can fail.

    A transaction that is sent twice is one, by the token that it bears.
    """
    for number, operation in enumerate(whole.operations, 1):
        for way in Way:
            if way is not Way.TWICE or operation != "TransactWriteItems":
                yield number, way


def stop_everywhere(begin: Callable[[], tuple[Do, Look]], seen: Callable[[Any], str] = str) -> Fault:
    """Do something once as a whole, and then stopped at each of its writes and repeated. What comes of it is
    the same.

    `begin` makes a new scene, and returns what is to be done there and what looks at the outcome. `seen`
    takes away what differs from scene to scene. Returns the run that was not stopped.
    """
    do, look = begin()
    with fault(0) as whole:
        do()
    expected = seen(look())
    for number, way in ways_to_stop(whole):
        do, look = begin()
        with fault(number, way):
            failed = _fails(do)
        if failed:
            do()
        assert seen(look()) == expected, f"write {number} of {whole.operations} {way.value}"
    return whole


def _fails(do: Do) -> bool:
    try:
        do()
    except Exception:  # noqa: BLE001 - whoever asked for it repeats it, whatever it was
        return True
    return False
