"""Mark a room's events up to one as read, or as delivered.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from murmuration.drafts.v2.markers import set_marker
from murmuration.endpoint import Answer, Auth, Request, endpoint


@endpoint("PUT", "/_matrix/client/v2/rooms/{roomId}/markers/{type}", auth=Auth.DEFERRED_ACCESS_TOKEN)
def handler(request: Request) -> Answer:
    params = request.params
    set_marker(request.access_token, params["roomId"], params["type"], request.fields())
    return {}
