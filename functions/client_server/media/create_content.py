"""Create an mxc: URI to upload to later.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav1create
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Request, endpoint
from murmuration.media.repository import create_content


@endpoint("POST", "/_matrix/media/{version}/create", versions=("v1",), refuses_suspended=True)
def handler(request: Request) -> Answer:
    uri, unused_expires_at = create_content(request.requester, request.shown_token)
    return {"content_uri": uri, "unused_expires_at": unused_expires_at}
