"""Makes workers try servers that are behind once they are due; runs once a minute, on a schedule."""

from __future__ import annotations

import logging

from murmuration.clock import now_ms
from murmuration.federation.outbound import pokes
from murmuration.settings import settings
from murmuration.storage.servers import backlogs

AGAIN_MS = 10 * 60_000
"""For how long a server isn't considered again, unless the worker that was called for it sets another
time."""
MOST = 500


def retry_due() -> None:
    """Call a worker for each server that is due. Costs one small read if none is behind."""
    if not settings().federation:
        return
    now = now_ms()
    waiting = list(backlogs.read_waiting())
    due = sorted((due_ms, name) for name, due_ms in waiting if due_ms <= now)[:MOST]
    pokes.resume([name for due_ms, name in due if backlogs.postpone(name, due_ms, now + AGAIN_MS)])
    if due:
        logging.getLogger("murmuration.federation").warning(
            "destinations behind: waiting=%d due=%d", len(waiting), len(due)
        )
