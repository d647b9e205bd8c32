"""Begin a large upload to an mxc: URI that was created before, and return the key for its body.

https://spec.matrix.org/v1.19/client-server-api/#put_matrixmediav3uploadservernamemediaid
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Request, endpoint
from murmuration.media.placing import Coming, place_content_to_mxc


@endpoint("PUT", "/uploads/{serverName}/{mediaId}", refuses_suspended=True, stores_body=True)
def handler(request: Request) -> Answer:
    coming = Coming(request.coming_bytes, request.headers.get("content-type"), request.query.get("filename"))
    params = request.params
    key = place_content_to_mxc(request.requester, params["serverName"], params["mediaId"], coming)
    return {"object": key, "answer": {}}
