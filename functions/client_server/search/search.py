"""Search in messages.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3search
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.search import messages


@endpoint("POST", "/_matrix/client/{version}/search", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return messages.search(request.requester, request.fields(), request.query.get("next_batch"))
