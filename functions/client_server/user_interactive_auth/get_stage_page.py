"""Return a page on which a user completes a stage of user-interactive authentication.

https://spec.matrix.org/v1.19/client-server-api/#fallback
"""

from __future__ import annotations

from murmuration.accounts.interactive import auth_pages
from murmuration.endpoint import CLIENT_VERSIONS, Auth, Request, Response, endpoint


@endpoint(
    "GET",
    "/_matrix/client/{version}/auth/{authType}/fallback/web",
    auth=Auth.NONE,
    versions=CLIENT_VERSIONS,
    for_people=True,
)
def handler(request: Request) -> Response:
    page = auth_pages.get_page(
        request.params["authType"],
        request.query.get("session"),
        provider_id=request.query.get("provider"),
        cookies=request.headers.get("cookie", ""),
        source_ip=request.source_ip,
    )
    return Response(page.body, page.status, page.headers)
