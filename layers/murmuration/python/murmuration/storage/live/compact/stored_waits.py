"""The form of a wait in its user's item: a list, because attribute names would be longer than the values.

Each wake-up writes the item twice, and the waits of all of a user's devices are in it. So it must stay below
a kilobyte, the size of one write unit. The list has the time until which the wait is valid (seconds since the
epoch), its nonce, its state, and its queue. Older waits are maps, which are still read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from murmuration.aws import queues
from murmuration.settings import settings
from murmuration.storage.live import wake_queues

HELD, PARKED, RUNG = 0, 1, 2
"""The states. Any other number is the time (seconds since the epoch) at which a late ring comes to a parked
wait."""
IS_OVER = "(attribute_not_exists(#wait) OR #wait[0] <= :now OR #wait.#until <= :now)"
HAS_NONCE = "(#wait[1] = :nonce OR #wait.#nonce = :nonce)"
IS_OVER_OR_REPLACED = (
    f"({IS_OVER} OR #wait[2] = :rung OR attribute_exists(#wait.#rung)"
    " OR #wait[1] = :replaced OR #wait.#nonce = :replaced)"
)
IS_NOT_RUNG = "NOT #wait[2] = :rung AND attribute_not_exists(#wait.#rung)"
IS_NOT_NOTED = (
    "(#wait[2] <= :parked OR (attribute_exists(#wait.#kept) AND attribute_not_exists(#wait.#rung)"
    " AND attribute_not_exists(#wait.#late)))"
)
"""Conditions on the wait `#wait`, in either form."""


def names(*wanted: str) -> dict[str, str]:
    """Return the attribute names that a condition on an older wait (a map) needs."""
    return {f"#{name}": name for name in wanted}


@dataclass(frozen=True, slots=True)
class StoredWait:
    """A stored wait."""

    until: int
    nonce: str
    state: int
    queue: str

    @property
    def is_kept(self) -> bool:
        """Whether its client is parked, so that it waits without a function."""
        return self.state != HELD

    @property
    def late_s(self) -> int:
        """When a late ring comes, in seconds since the epoch; 0 for none."""
        return self.state if self.state > RUNG else 0

    def value(self) -> list[Any] | dict[str, Any]:
        """Return the stored form: a list, or a map in the previous release's form."""
        if settings().stored_forms == "before":
            return self._map()
        return [self.until, self.nonce, self.state, _packed(self.queue)]

    def _map(self) -> dict[str, Any]:
        queue = _packed(self.queue)
        found: dict[str, Any] = {
            "queue": queue if isinstance(queue, str) else self.queue.rpartition("/")[2],
            "nonce": self.nonce,
            "until": self.until,
            "kept": self.is_kept,
        }
        if self.state == RUNG:
            found["rung"] = True
        return found | {"late": self.late_s} if self.late_s else found


def from_value(value: Sequence[Any] | Mapping[str, Any]) -> StoredWait:
    """Return the wait for a stored form."""
    if not isinstance(value, Mapping):
        until, nonce, state, queue = value
        return StoredWait(until, nonce, state, _url(queue))
    state = RUNG if value.get("rung") else value.get("late") or (PARKED if value["kept"] else HELD)
    return StoredWait(value["until"], value["nonce"], state, _url(value["queue"]))


def until_of(value: Sequence[Any] | Mapping[str, Any]) -> int:
    """Return the time until which a stored wait is valid."""
    return int(value["until"] if isinstance(value, Mapping) else value[0])


def _packed(url: str) -> str | bytes:
    """Return the stored form of a queue's URL: its ID, if all else can be derived from that; its name, if the
    URL can.
    """
    name = url.rpartition("/")[2]
    if queues.url_of_name(name) != url:
        return url
    queue = wake_queues.id_of(name)
    for prefix in wake_queues.PREFIXES.values():
        if name == settings().queue(prefix + queue) and len(queue) == 2 * wake_queues.ID_BYTES:
            return prefix[5:6].encode() + bytes.fromhex(queue)
    return name


def _url(stored: str | bytes) -> str:
    if isinstance(stored, bytes):
        return queues.url_of_name(settings().queue(f"wake-{stored[:1].decode()}-{stored[1:].hex()}"))
    return stored if "/" in stored else queues.url_of_name(stored)
