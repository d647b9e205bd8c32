"""Download media under a name that the client chooses, by the old way without authentication.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixmediav3downloadservernamemediaidfilename
"""

from __future__ import annotations

from murmuration.endpoint import Auth, Request, Response, endpoint
from murmuration.media.headers import file_headers
from murmuration.media.repository import DEFAULT_WAIT_MS, get_content


@endpoint(
    "GET",
    "/_matrix/media/{version}/download/{serverName}/{mediaId}/{fileName}",
    auth=Auth.NONE,
    versions=("r0", "v3", "v1"),
)
def handler(request: Request) -> Response:
    params = request.params
    file = get_content(
        params["serverName"],
        params["mediaId"],
        reader=None,
        timeout_ms=request.query_int("timeout_ms", DEFAULT_WAIT_MS),
    )
    return Response(file.data, headers=file_headers(file.content_type, params["fileName"]))
