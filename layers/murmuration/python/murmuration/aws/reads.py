"""Reads as values: which item to read, and how to parse it.

`storage` makes reads and the domains combine them: a batch reads items of several kinds in one round trip,
and only `storage` sees an item's attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Item, Key, StoredItem

T = TypeVar("T")
_KeyValues = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Read(Generic[T]):
    """One item to read from `table` by its whole `key`.

    `parse` gets the item, or None if there is none. An `eventual` read may be a moment old and costs half as
    much; within a batch all reads of a table are eventual, or none is.
    """

    table: str
    key: Key
    parse: Callable[[Item | None], T]
    eventual: bool = False


@dataclass(slots=True)
class Answer(Generic[T]):
    """The result of a read in a batch, once the batch is fetched."""

    read: Read[T]
    _values: list[T] = field(default_factory=list)

    @property
    def value(self) -> T:
        """The result of the read. Raises RuntimeError before the batch is fetched."""
        if not self._values:
            raise RuntimeError("the batch has not been fetched yet")
        return self._values[0]

    def take(self, item: Item | None) -> None:
        """Parse the item, or None if there is none."""
        self._values = [self.read.parse(item)]


class Batch:
    """Reads of several kinds that are fetched in one round trip."""

    def __init__(self) -> None:
        self._answers: list[Answer[Any]] = []

    def add(self, read: Read[T]) -> Answer[T]:
        """Add a read, and return an object that holds its result once the batch is fetched."""
        answer = Answer(read)
        self._answers.append(answer)
        return answer

    def add_all(self, reads: Iterable[Read[T]]) -> list[Answer[T]]:
        """Add reads, and return the objects that will hold their results, in order."""
        return [self.add(read) for read in reads]

    def fetch(self) -> None:
        """Fetch all reads that were added. An empty batch makes no request."""
        keys: dict[str, list[Key]] = {}
        consistent = set()
        for answer in self._answers:
            keys.setdefault(answer.read.table, []).append(answer.read.key)
            if not answer.read.eventual:
                consistent.add(answer.read.table)
        if not keys:
            return
        found = dynamodb.batch_get(keys, eventual=[table for table in keys if table not in consistent])
        names = {table: tuple(sorted(some[0])) for table, some in keys.items()}
        items = {(table, _values(item, names[table])): item for table, some in found.items() for item in some}
        for answer in self._answers:
            table = answer.read.table
            answer.take(items.get((table, _values(answer.read.key, names[table]))))


def fetch(read: Read[T]) -> T:
    """Read one item, and return it parsed."""
    return read.parse(dynamodb.get(read.table, read.key, consistent=not read.eventual))


def fetch_all(reads: Sequence[Read[T]]) -> list[T]:
    """Read several items of one kind in one round trip, and return them parsed, in order."""
    batch = Batch()
    answers = batch.add_all(reads)
    batch.fetch()
    return [answer.value for answer in answers]


def _values(source: StoredItem | Key, names: Sequence[str]) -> _KeyValues:
    return tuple((name, source[name]) for name in names)
