"""Set or delete a pusher.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3pushersset
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.push import pushers


@endpoint("POST", "/_matrix/client/{version}/pushers/set", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    pushers.set_pusher(request.requester, request.fields())
    return {}
