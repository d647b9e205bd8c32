"""Set a piece of state. Returns the event.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from murmuration.drafts.v2.actions import Action, Answering, send_event
from murmuration.endpoint import Answer, Auth, Request, endpoint


@endpoint(
    "PUT",
    "/_matrix/client/v2/rooms/{roomId}/state/{eventType}",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    also=("/_matrix/client/v2/rooms/{roomId}/state/{eventType}/{stateKey}",),
    refuses_suspended=True,
)
def handler(request: Request) -> Answer:
    params = request.params
    action = Action(
        params["eventType"],
        request.json_object(),
        params.get("stateKey", ""),
        request.query.get("action_id"),
    )
    answering = Answering(request.query_bool("compact"), request.query.get("streaming"))
    return send_event(request.access_token, params["roomId"], action, answering)
