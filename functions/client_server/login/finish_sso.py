"""Finish a login when the user's browser comes back from an identity provider.

https://spec.matrix.org/v1.19/client-server-api/#handling-the-callback-from-the-authentication-server
"""

from __future__ import annotations

from murmuration.drafts.sso_callback import finish_sso
from murmuration.endpoint import Auth, Request, Response, endpoint


@endpoint(
    "GET",
    "/_matrix/client/{version}/login/sso/callback",
    auth=Auth.NONE,
    versions=("v3",),
    for_people=True,
)
def handler(request: Request) -> Response:
    page = finish_sso(request.query, cookies=request.headers.get("cookie", ""))
    return Response(page.body, page.status, page.headers)
