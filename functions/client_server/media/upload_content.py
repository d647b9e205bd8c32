"""Upload media.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav3upload
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Request, endpoint
from murmuration.media.repository import Upload, upload_content


@endpoint("POST", "/_matrix/media/{version}/upload", versions=("r0", "v3", "v1"), refuses_suspended=True)
def handler(request: Request) -> Answer:
    upload = Upload(request.body, request.headers.get("content-type"), request.query.get("filename"))
    return {"content_uri": upload_content(request.requester, upload)}
