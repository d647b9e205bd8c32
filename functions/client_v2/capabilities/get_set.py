"""Return the capabilities of a user's client, by their hash.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from murmuration.drafts.v2 import capabilities
from murmuration.endpoint import Answer, Request, endpoint


@endpoint("GET", "/_matrix/client/v2/users/{userId}/capabilities/{hash}")
def handler(request: Request) -> Answer:
    params = request.params
    return capabilities.get_set(request.requester, params["userId"], params["hash"])
