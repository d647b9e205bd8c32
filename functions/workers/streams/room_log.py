"""Wake those who wait for a room's new events; note that their senders are active."""

from __future__ import annotations

from murmuration.delivery.wakes import wake_for_log_entries
from murmuration.endpoint.workers import Items, stream_worker
from murmuration.presence.status import note_sending


@stream_worker("room-log")
def handler(items: Items) -> None:
    wake_for_log_entries(items)
    note_sending(items)
