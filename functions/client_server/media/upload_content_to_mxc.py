"""Upload media to an mxc: URI that was created before.

https://spec.matrix.org/v1.19/client-server-api/#put_matrixmediav3uploadservernamemediaid
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Request, endpoint
from murmuration.media.repository import Upload, upload_content_to_mxc


@endpoint(
    "PUT",
    "/_matrix/media/{version}/upload/{serverName}/{mediaId}",
    versions=("r0", "v3", "v1"),
    refuses_suspended=True,
)
def handler(request: Request) -> Answer:
    params = request.params
    upload = Upload(request.body, request.headers.get("content-type"), request.query.get("filename"))
    upload_content_to_mxc(request.requester, params["serverName"], params["mediaId"], upload)
    return {}
