"""Restart, send or cancel a delayed event. Older clients name the action in the body.

https://github.com/matrix-org/matrix-spec-proposals/pull/4140
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.rooms.delayed import managing


@endpoint(
    "POST",
    "/_matrix/client/{version}/delayed_events/{delayId}/{action}",
    auth=Auth.OPTIONAL_ACCESS_TOKEN,
    versions=("v1", "unstable"),
    also=(
        "/_matrix/client/{version}/org.matrix.msc4140/delayed_events/{delayId}/{action}",
        "/_matrix/client/{version}/org.matrix.msc4140/delayed_events/{delayId}",
    ),
)
def handler(request: Request) -> Answer:
    params = request.params
    action = params["action"] if "action" in params else request.json_object().get("action")
    return managing.manage(
        request.optional_requester, params["delayId"], action, unstable=request.is_unstable
    )
