"""Wake clients that wait for receipts, typing, account data and messages; tell others of presence and
receipts.

Other servers get EDUs about typing, receipts, presence and changes of devices.
"""

from __future__ import annotations

from murmuration.delivery.wakes import wake_for_stream_items
from murmuration.endpoint.workers import Items, stream_worker
from murmuration.federation.ephemera.presence import order_presence
from murmuration.federation.ephemera.sending import order_ephemera
from murmuration.federation.outbound.device_changes import order_device_changes
from murmuration.presence.telling import tell
from murmuration.push.evaluation import note_receipts
from murmuration.push.outside_invites import note_outside_invites


@stream_worker("streams")
def handler(items: Items) -> None:
    wake_for_stream_items(items)
    note_receipts(items)
    note_outside_invites(items)
    tell(items)
    order_device_changes(items)
    order_ephemera(items)
    order_presence(items)
