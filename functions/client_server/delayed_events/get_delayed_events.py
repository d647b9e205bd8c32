"""List the requester's events that are scheduled to be sent later.

https://github.com/matrix-org/matrix-spec-proposals/pull/4140
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.endpoint import Request, endpoint
from murmuration.rooms.delayed import managing

if TYPE_CHECKING:
    from murmuration.rooms.json_types import DelayedEventsPage


@endpoint(
    "GET",
    "/_matrix/client/{version}/delayed_events",
    versions=("v1", "unstable"),
    also=("/_matrix/client/{version}/org.matrix.msc4140/delayed_events",),
)
def handler(request: Request) -> DelayedEventsPage:
    query = request.query
    return managing.get_delayed_events(request.requester, query.get("from"), query.get("status"))
