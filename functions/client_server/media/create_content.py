"""Create an mxc: URI to upload to later.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav1create
"""

from __future__ import annotations

from typing import Any

from murmuration.endpoint import Request, endpoint
from murmuration.media.repository import create_content


@endpoint("POST", "/_matrix/media/{version}/create", versions=("v1",), refuses_suspended=True)
def handler(request: Request) -> dict[str, Any]:
    uri, unused_expires_at = create_content(request.requester)
    return {"content_uri": uri, "unused_expires_at": unused_expires_at}
