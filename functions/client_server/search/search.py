"""Search in messages.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3search
"""

from __future__ import annotations

from typing import Any

from murmuration.endpoint import CLIENT_VERSIONS, Request, endpoint
from murmuration.search import messages


@endpoint("POST", "/_matrix/client/{version}/search", versions=CLIENT_VERSIONS)
def handler(request: Request) -> dict[str, Any]:
    return messages.search(request.requester, request.fields(), request.query.get("next_batch"))
