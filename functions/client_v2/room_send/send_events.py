"""Send several messages and pieces of state together, or none of them.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from murmuration.drafts.v2.actions import Action, Answering, send_events
from murmuration.endpoint import Answer, Auth, Request, endpoint


@endpoint(
    "POST", "/_matrix/client/v2/rooms/{roomId}/send", auth=Auth.DEFERRED_ACCESS_TOKEN, refuses_suspended=True
)
def handler(request: Request) -> Answer:
    actions = [Action.from_body(each) for each in request.fields().objects("events")]
    answering = Answering(request.query_bool("compact"), request.query.get("streaming"))
    return send_events(request.access_token, request.params["roomId"], actions, answering)
