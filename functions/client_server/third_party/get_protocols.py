"""List the third-party networks that are bridged: none.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartyprotocols
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint


@endpoint("GET", "/_matrix/client/{version}/thirdparty/protocols", versions=CLIENT_VERSIONS)
def handler(_request: Request) -> Answer:
    return {}
