"""Publish signatures on keys.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keyssignaturesupload
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.keys.cross_signing import upload_cross_signing_signatures


@endpoint("POST", "/_matrix/client/{version}/keys/signatures/upload", versions=(*CLIENT_VERSIONS, "unstable"))
def handler(request: Request) -> Answer:
    return {"failures": upload_cross_signing_signatures(request.requester, request.json_object())}
