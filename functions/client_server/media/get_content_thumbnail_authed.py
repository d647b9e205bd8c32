"""Download a thumbnail.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediathumbnailservernamemediaid
"""

from __future__ import annotations

from murmuration.endpoint import Request, Response, endpoint
from murmuration.media.headers import file_headers
from murmuration.media.repository import DEFAULT_WAIT_MS
from murmuration.media.thumbnails import Wanted, get_content_thumbnail


@endpoint("GET", "/_matrix/client/{version}/media/thumbnail/{serverName}/{mediaId}", versions=("v1",))
def handler(request: Request) -> Response:
    params = request.params
    file = get_content_thumbnail(
        params["serverName"],
        params["mediaId"],
        Wanted.parse(request.query),
        reader=request.requester,
        timeout_ms=request.query_int("timeout_ms", DEFAULT_WAIT_MS),
    )
    return Response(file.data, headers=file_headers(file.content_type, file.file_name))
