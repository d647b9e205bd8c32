"""Download media, at the old path without authentication.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixmediav3downloadservernamemediaid
"""

from __future__ import annotations

from murmuration.endpoint import Auth, Request, Response, endpoint
from murmuration.media.asking import Asked
from murmuration.media.finding import get_content


@endpoint(
    "GET",
    "/_matrix/media/{version}/download/{serverName}/{mediaId}",
    auth=Auth.NONE,
    versions=("r0", "v3", "v1"),
)
def handler(request: Request) -> Response:
    params = request.params
    asked = Asked.by_anyone(request.query, request.headers)
    served = get_content(params["serverName"], params["mediaId"], asked)
    return Response(served.data, served.status, served.headers)
