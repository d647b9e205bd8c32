"""Decides how often and when a transaction is sent again to a server that refuses it."""

from __future__ import annotations

import random

from murmuration.clock import now_ms

TRIES = 5
"""After this many refusals a transaction counts as delivered: the server rejects its content."""
_FIRST_MS = 60_000


def next_try_ms(refusals: int) -> int:
    """Return when to send a transaction again that was refused `refusals` times: after 1, 2, 4, 8 minutes."""
    return now_ms() + int(_FIRST_MS * 2 ** (refusals - 1) * random.uniform(1, 1.2))
