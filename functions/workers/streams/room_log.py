"""Wake those who wait for a room's new events, order their sending to other servers, note who is active."""

from __future__ import annotations

from murmuration.delivery.wakes import wake_for_log_entries
from murmuration.endpoint.workers import Items, stream_worker
from murmuration.federation.outbound.ordering import order_sending
from murmuration.presence.status import note_sending


@stream_worker("room-log", changes=False)
def handler(items: Items) -> None:
    wake_for_log_entries(items)
    order_sending(items)
    note_sending(items)
