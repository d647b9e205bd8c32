"""Report an event to the server's operator.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreporteventid
"""

from __future__ import annotations

from murmuration import reports
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint


@endpoint(
    "POST",
    "/_matrix/client/{version}/rooms/{roomId}/report/{eventId}",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    versions=CLIENT_VERSIONS,
)
def handler(request: Request) -> Answer:
    params = request.params
    reports.report_event(request.access_token, params["roomId"], params["eventId"], request.fields())
    return {}
