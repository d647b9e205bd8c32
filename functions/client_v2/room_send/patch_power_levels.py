"""Change one key of a room's power levels.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from murmuration.drafts.v2.actions import Answering, PowerLevelPatch, patch_power_levels
from murmuration.endpoint import Answer, Auth, Request, endpoint


@endpoint(
    "PUT",
    "/_matrix/client/v2/rooms/{roomId}/powerLevels",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    refuses_suspended=True,
)
def handler(request: Request) -> Answer:
    patch = PowerLevelPatch.from_body(request.fields())
    action_id = request.query.get("action_id")
    answering = Answering(streaming=request.query.get("streaming"))
    return patch_power_levels(
        request.access_token, request.params["roomId"], patch, answering, action_id=action_id
    )
