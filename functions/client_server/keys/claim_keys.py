"""Claim one-time keys.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysclaim
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.federation.devices.claiming import claim_keys


@endpoint("POST", "/_matrix/client/{version}/keys/claim", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return claim_keys(request.json_object())
