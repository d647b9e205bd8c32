"""Set the client's capabilities to a set that was uploaded before, by its hash.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from murmuration.drafts.v2 import capabilities
from murmuration.endpoint import Answer, Request, endpoint


@endpoint("PUT", "/_matrix/client/v2/clientCapabilities")
def handler(request: Request) -> Answer:
    capabilities.announce(request.requester, request.fields())
    return {}
