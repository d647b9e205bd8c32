"""Describe an event filter, and be given the token that names it.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from typing import Any

from murmuration.drafts.v2 import filters
from murmuration.endpoint import Request, endpoint


@endpoint("POST", "/_matrix/client/v2/filter")
def handler(request: Request) -> dict[str, Any]:
    return {"filter": filters.define(request.requester.user_id, request.json_object())}
