"""Return the hashes of the capabilities of a user's clients.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from murmuration.drafts.v2 import capabilities
from murmuration.endpoint import Answer, Request, endpoint


@endpoint("GET", "/_matrix/client/v2/users/{userId}/capabilities")
def handler(request: Request) -> Answer:
    return {**capabilities.get_hashes(request.requester, request.params["userId"])}
