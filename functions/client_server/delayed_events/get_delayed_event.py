"""Look up one of the requester's delayed events, scheduled or finalised.

https://github.com/matrix-org/matrix-spec-proposals/pull/4140
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.endpoint import Request, endpoint
from murmuration.rooms.delayed import managing

if TYPE_CHECKING:
    from murmuration.rooms.json_types import ShownDelayedEvent


@endpoint(
    "GET",
    "/_matrix/client/{version}/delayed_events/{delayId}",
    versions=("v1", "unstable"),
    also=("/_matrix/client/{version}/org.matrix.msc4140/delayed_events/{delayId}",),
)
def handler(request: Request) -> ShownDelayedEvent:
    return managing.get_delayed_event(request.requester, request.params["delayId"])
