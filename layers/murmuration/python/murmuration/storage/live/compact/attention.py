"""Whether somebody follows the news at the moment, as far as the table of listeners tells.

A client that was just answered has no wait until it asks again, and would miss what comes in between. So it
counts for a while longer.
"""

from __future__ import annotations

from collections.abc import Iterable

from murmuration.aws.dynamodb import StoredItem
from murmuration.clock import now_ms
from murmuration.storage.live.compact.leftovers import LIFETIME_S, SOCKET, WAIT
from murmuration.storage.live.compact.stored_waits import until_of

LATELY_S = 60
"""For how long somebody counts who waited. Other servers say that somebody types once in 40 seconds."""


def somebody_listens(items: Iterable[StoredItem]) -> bool:
    """Return whether one of these users (`listeners.read_items`) waits for news, or did a minute ago."""
    since = now_ms() // 1000 - LATELY_S
    return any(_listens(item, since) for item in items)


def _listens(item: StoredItem, since: int) -> bool:
    # Each registration moves the item's expiry, but not that of a user with pushers.
    if "pushers" not in item and int(item.get("expires", 0)) - LIFETIME_S > since:
        return True
    return any(
        (name.startswith(WAIT) and until_of(value) > since)
        or (name.startswith(SOCKET) and int(value["until"]) > since)
        for name, value in item.items()
    )
