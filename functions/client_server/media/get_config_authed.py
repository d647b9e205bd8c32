"""Return the maximum size of uploads.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediaconfig
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Request, endpoint
from murmuration.settings import settings


@endpoint("GET", "/_matrix/client/{version}/media/config", versions=("v1",))
def handler(_request: Request) -> Answer:
    return {"m.upload.size": settings().media_max_bytes}
