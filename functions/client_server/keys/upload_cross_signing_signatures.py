"""Publish signatures on keys.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keyssignaturesupload
"""

from __future__ import annotations

from typing import Any

from murmuration.endpoint import CLIENT_VERSIONS, Request, endpoint
from murmuration.keys.cross_signing import upload_cross_signing_signatures


@endpoint("POST", "/_matrix/client/{version}/keys/signatures/upload", versions=(*CLIENT_VERSIONS, "unstable"))
def handler(request: Request) -> dict[str, Any]:
    return {"failures": upload_cross_signing_signatures(request.requester, request.json_object())}
