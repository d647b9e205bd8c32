"""Tell the hashes of what a user's clients can do.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from typing import Any

from murmuration.drafts.v2 import capabilities
from murmuration.endpoint import Request, endpoint


@endpoint("GET", "/_matrix/client/v2/users/{userId}/capabilities")
def handler(request: Request) -> dict[str, Any]:
    return {**capabilities.get_hashes(request.requester, request.params["userId"])}
