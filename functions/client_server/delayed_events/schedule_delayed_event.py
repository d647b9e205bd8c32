"""Schedule an event to be sent to a room later.

https://github.com/matrix-org/matrix-spec-proposals/pull/4140
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Request, endpoint
from murmuration.rooms.delayed.scheduling import schedule_delayed_event


@endpoint(
    "PUT",
    "/_matrix/client/{version}/rooms/{roomId}/delayed_event/{eventType}/{txnId}",
    versions=("v3", "unstable"),
    also=("/_matrix/client/{version}/org.matrix.msc4140/rooms/{roomId}/delayed_event/{eventType}/{txnId}",),
    refuses_suspended=True,
)
def handler(request: Request) -> Answer:
    params = request.params
    return schedule_delayed_event(
        request.requester,
        params["roomId"],
        params["eventType"],
        params["txnId"],
        request.json_object(),
        unstable=request.is_unstable,
    )
