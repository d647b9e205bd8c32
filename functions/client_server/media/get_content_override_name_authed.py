"""Download media under a name that the client chooses.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediadownloadservernamemediaidfilename
"""

from __future__ import annotations

from murmuration.endpoint import Request, Response, endpoint
from murmuration.media.asking import Asked
from murmuration.media.finding import get_content


@endpoint(
    "GET",
    "/_matrix/client/{version}/media/download/{serverName}/{mediaId}/{fileName}",
    versions=("v1",),
)
def handler(request: Request) -> Response:
    params = request.params
    is_head = request.method == "HEAD"
    asked = Asked.by_user(request.requester, request.query, request.headers, is_head=is_head)
    served = get_content(params["serverName"], params["mediaId"], asked, params["fileName"])
    return Response(served.data, served.status, served.headers)
