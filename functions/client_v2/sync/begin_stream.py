"""Begin a stream of events with a configuration, and return its token.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from murmuration.drafts.v2 import streaming
from murmuration.endpoint import Answer, Auth, Request, endpoint


@endpoint("POST", "/_matrix/client/v2/streaming", auth=Auth.DEFERRED_ACCESS_TOKEN)
def handler(request: Request) -> Answer:
    return {"streaming": streaming.define(request.access_token, request.json_object())}
