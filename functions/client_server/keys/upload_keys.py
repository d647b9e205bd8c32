"""Publish a device's keys.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysupload
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.keys.upload import upload_keys


@endpoint("POST", "/_matrix/client/{version}/keys/upload", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return {"one_time_key_counts": upload_keys(request.requester, request.json_object())}
