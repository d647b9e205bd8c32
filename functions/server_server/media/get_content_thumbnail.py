"""Return a thumbnail of an image of this server to another server.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediathumbnailmediaid
"""

from __future__ import annotations

from murmuration.endpoint import Auth, Request, Response, endpoint
from murmuration.media.asking import Asked
from murmuration.media.federating import get_content_thumbnail
from murmuration.media.thumbnails import Wanted


@endpoint("GET", "/_matrix/federation/v1/media/thumbnail/{mediaId}", auth=Auth.SERVER)
def handler(request: Request) -> Response:
    asked = Asked.by_server(request.origin, request.query)
    parts = get_content_thumbnail(request.params["mediaId"], Wanted.parse(request.query), asked)
    return Response(parts.body, headers={"Content-Type": parts.content_type})
