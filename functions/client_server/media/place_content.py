"""Begin a large upload, and return the key under which to store its body.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav3upload
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Request, endpoint
from murmuration.media.placing import Coming, place_content


@endpoint("POST", "/uploads", refuses_suspended=True, stores_body=True)
def handler(request: Request) -> Answer:
    coming = Coming(request.coming_bytes, request.headers.get("content-type"), request.query.get("filename"))
    key, uri = place_content(request.requester, coming)
    return {"object": key, "answer": {"content_uri": uri}}
