"""List the requester's pushers.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushers
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.push import pushers


@endpoint("GET", "/_matrix/client/{version}/pushers", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return pushers.get_pushers(request.requester)
