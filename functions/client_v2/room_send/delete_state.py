"""Delete a piece of state. https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst"""

from __future__ import annotations

from murmuration.drafts.v2.actions import Answering, delete_state
from murmuration.endpoint import Answer, Auth, Request, endpoint


@endpoint(
    "DELETE",
    "/_matrix/client/v2/rooms/{roomId}/state/{eventType}",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    also=("/_matrix/client/v2/rooms/{roomId}/state/{eventType}/{stateKey}",),
    refuses_suspended=True,
)
def handler(request: Request) -> Answer:
    params = request.params
    return delete_state(
        request.access_token,
        params["roomId"],
        params["eventType"],
        params.get("stateKey", ""),
        Answering(streaming=request.query.get("streaming")),
        action_id=request.query.get("action_id"),
    )
