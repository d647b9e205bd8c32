"""Store an event filter, and return the token that names it.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from murmuration.drafts.v2 import filters
from murmuration.endpoint import Answer, Request, endpoint


@endpoint("POST", "/_matrix/client/v2/filter")
def handler(request: Request) -> Answer:
    return {"filter": filters.define(request.requester.user_id, request.json_object())}
