"""Download a thumbnail.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediathumbnailservernamemediaid
"""

from __future__ import annotations

from murmuration.endpoint import Request, Response, endpoint
from murmuration.media.asking import Asked
from murmuration.media.thumbnails import Wanted, get_content_thumbnail


@endpoint("GET", "/_matrix/client/{version}/media/thumbnail/{serverName}/{mediaId}", versions=("v1",))
def handler(request: Request) -> Response:
    params = request.params
    is_head = request.method == "HEAD"
    asked = Asked.by_user(request.requester, request.query, request.headers, is_head=is_head)
    served = get_content_thumbnail(
        params["serverName"], params["mediaId"], Wanted.parse(request.query), asked
    )
    return Response(served.data, served.status, served.headers)
