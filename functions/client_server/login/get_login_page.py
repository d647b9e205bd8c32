"""Return a page that performs a whole login, for clients that can't do it themselves.

https://spec.matrix.org/v1.19/client-server-api/#login-fallback
"""

from __future__ import annotations

from murmuration.drafts.v1 import logins
from murmuration.endpoint import Auth, Request, Response, endpoint


@endpoint(
    "GET",
    "/_matrix/static/client/login",
    auth=Auth.NONE,
    also=("/_matrix/client/api/v1/login/fallback",),
    for_people=True,
)
def handler(request: Request) -> Response:
    page = logins.get_fallback_page(request.query)
    return Response(page.body, page.status, page.headers)
