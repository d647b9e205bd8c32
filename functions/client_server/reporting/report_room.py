"""Report a room to the server's operator.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreport
"""

from __future__ import annotations

from murmuration import reports
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint


@endpoint("POST", "/_matrix/client/{version}/rooms/{roomId}/report", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    reports.report_room(request.requester, request.params["roomId"], request.fields())
    return {}
