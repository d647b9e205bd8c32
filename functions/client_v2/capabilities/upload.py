"""Upload the client's capabilities. Returns their hash.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from murmuration.drafts.v2 import capabilities
from murmuration.endpoint import Answer, Request, endpoint


@endpoint("POST", "/_matrix/client/v2/clientCapabilities")
def handler(request: Request) -> Answer:
    return {**capabilities.upload(request.requester, request.fields())}
