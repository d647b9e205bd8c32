"""Return one event.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3eventseventid
"""

from __future__ import annotations

from murmuration.drafts.v1.events import TODAY
from murmuration.drafts.v1.history import get_event
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint


@endpoint(
    "GET",
    "/_matrix/client/{version}/events/{eventId}",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    versions=CLIENT_VERSIONS,
)
def handler(request: Request) -> Answer:
    return get_event(request.access_token, request.params["eventId"], TODAY)
