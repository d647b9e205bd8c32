"""Return a preview of a URL.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediapreview_url
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Request, endpoint
from murmuration.media.previews import get_url_preview


@endpoint("GET", "/_matrix/client/{version}/media/preview_url", versions=("v1",))
def handler(request: Request) -> Answer:
    request.query_int("ts", 0)
    return get_url_preview(request.requester, request.query_required("url"))
