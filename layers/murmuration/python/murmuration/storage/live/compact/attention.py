"""Whether a user is waiting for updates at the moment, according to the table of listeners.

A client that was just answered has no wait until it asks again, and would miss updates in between. So it
counts for a while longer.
"""

from __future__ import annotations

from collections.abc import Iterable

from murmuration.aws.dynamodb import StoredItem
from murmuration.clock import now_ms
from murmuration.storage.live.compact.leftovers import LIFETIME_S, SOCKET, WAIT
from murmuration.storage.live.compact.stored_waits import until_of

LATELY_S = 60
"""How long a user who waited still counts. Other servers repeat a typing notification once in 40 seconds."""


def somebody_listens(items: Iterable[StoredItem]) -> bool:
    """Return whether one of these users (`listeners.read_items`) waits for updates, or did within the last
    minute.
    """
    since = now_ms() // 1000 - LATELY_S
    return any(_listens(item, since) for item in items)


def _listens(item: StoredItem, since: int) -> bool:
    # Each registration moves the item's expiry, except that of a user with pushers.
    if "pushers" not in item and int(item.get("expires", 0)) - LIFETIME_S > since:
        return True
    return any(
        (name.startswith(WAIT) and until_of(value) > since)
        or (name.startswith(SOCKET) and int(value["until"]) > since)
        for name, value in item.items()
    )
