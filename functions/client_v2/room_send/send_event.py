"""Send a message. Returns the event.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from murmuration.drafts.v2.actions import Action, Answering, send_event
from murmuration.endpoint import Answer, Auth, Request, endpoint


@endpoint(
    "POST",
    "/_matrix/client/v2/rooms/{roomId}/send/{eventType}",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    also=("PUT /_matrix/client/v2/rooms/{roomId}/send/{eventType}/{txnId}",),
    refuses_suspended=True,
)
def handler(request: Request) -> Answer:
    params = request.params
    action_id = params.get("txnId") or request.query.get("action_id")
    action = Action(params["eventType"], request.json_object(), action_id=action_id)
    answering = Answering(request.query_bool("compact"), request.query.get("streaming"))
    return send_event(request.access_token, params["roomId"], action, answering)
