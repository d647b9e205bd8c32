"""Return a preview of a URL, at the old path.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixmediav3preview_url
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Request, endpoint
from murmuration.media.previews import get_url_preview


@endpoint("GET", "/_matrix/media/{version}/preview_url", versions=("r0", "v3", "v1"))
def handler(request: Request) -> Answer:
    request.query_int("ts", 0)
    return get_url_preview(request.requester, request.query_required("url"))
