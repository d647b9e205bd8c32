"""Wake those who wait for a room's new events; tell what follows from joining, leaving and sending."""

from __future__ import annotations

from murmuration.delivery.wakes import wake_for_log_entries
from murmuration.endpoint.workers import Items, stream_worker
from murmuration.presence.status import note_sending
from murmuration.presence.telling import tell_of_joins
from murmuration.push.evaluation import order_pushes
from murmuration.rooms.ephemeral.typing import end_for_leavers


@stream_worker("room-log")
def handler(items: Items) -> None:
    end_for_leavers(items)
    reachable = wake_for_log_entries(items)
    order_pushes([item for item in items if item.is_new], reachable)
    note_sending(items)
    tell_of_joins(items)
