"""Look up identity keys.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.federation.devices.querying import query_keys


@endpoint("POST", "/_matrix/client/{version}/keys/query", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return query_keys(request.requester, request.json_object())
