"""Download a thumbnail, at the old path without authentication.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixmediav3thumbnailservernamemediaid
"""

from __future__ import annotations

from murmuration.endpoint import Auth, Request, Response, endpoint
from murmuration.media.asking import Asked
from murmuration.media.thumbnails import Wanted, get_content_thumbnail


@endpoint(
    "GET",
    "/_matrix/media/{version}/thumbnail/{serverName}/{mediaId}",
    auth=Auth.NONE,
    versions=("r0", "v3", "v1"),
)
def handler(request: Request) -> Response:
    params = request.params
    asked = Asked.by_anyone(request.query, request.headers)
    served = get_content_thumbnail(
        params["serverName"], params["mediaId"], Wanted.parse(request.query), asked
    )
    return Response(served.data, served.status, served.headers)
