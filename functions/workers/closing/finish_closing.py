"""Complete deactivations of accounts that stopped halfway."""

from __future__ import annotations

from murmuration.accounts.management import finish_closing
from murmuration.endpoint.workers import schedule_worker


@schedule_worker("rate(1 day)")
def handler() -> None:
    finish_closing()
