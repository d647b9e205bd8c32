"""Publish this server's signing keys. A key ID at the end of the path is an old form, and ignored.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server
"""

from __future__ import annotations

from murmuration.endpoint import Auth, Request, Response, endpoint
from murmuration.federation.keys import published


@endpoint("GET", "/_matrix/key/v2/server", auth=Auth.NONE, also=("/_matrix/key/v2/server/{keyId}",))
def handler(_request: Request) -> Response:
    return Response(published.get_server_keys(), headers={"Cache-Control": "public, max-age=300"})
