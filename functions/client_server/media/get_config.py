"""Return the maximum size of uploads, at the old path.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixmediav3config
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Request, endpoint
from murmuration.settings import settings


@endpoint("GET", "/_matrix/media/{version}/config", versions=("r0", "v3", "v1"))
def handler(_request: Request) -> Answer:
    return {"m.upload.size": settings().media_max_bytes}
