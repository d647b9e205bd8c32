"""Wake clients that wait for a room's new events, and start the further work that these events need.

That work: pushes to phones, sending to other servers, tracking of their users' devices, presence, the end of
typing.
"""

from __future__ import annotations

from murmuration.delivery.wakes import wake_for_log_entries
from murmuration.endpoint.workers import Items, stream_worker
from murmuration.federation.devices.meeting import note_members, observe_members
from murmuration.federation.outbound.ordering import order_sending
from murmuration.presence.status import note_sending
from murmuration.presence.telling import tell_of_joins
from murmuration.push.evaluation import order_pushes
from murmuration.rooms.ephemeral.typing import end_for_leavers


@stream_worker("room-log", changes=False)
def handler(items: Items) -> None:
    end_for_leavers(items)
    observe_members(items)
    reachable = wake_for_log_entries(items)
    order_pushes(items, reachable)
    order_sending(items)
    note_members(items)
    note_sending(items)
    tell_of_joins(items)
