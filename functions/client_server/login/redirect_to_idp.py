"""Redirect the user's browser to the identity provider that they chose.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3loginssoredirectidpid
"""

from __future__ import annotations

from murmuration.accounts.sso import login as sso
from murmuration.endpoint import CLIENT_VERSIONS, Auth, Request, Response, endpoint


@endpoint(
    "GET",
    "/_matrix/client/{version}/login/sso/redirect/{idpId}",
    auth=Auth.NONE,
    versions=CLIENT_VERSIONS,
    for_people=True,
)
def handler(request: Request) -> Response:
    page = sso.redirect(
        request.query.get("redirectUrl"),
        provider_id=request.params["idpId"],
        action=request.query.get("action"),
        cookies=request.headers.get("cookie", ""),
        source_ip=request.source_ip,
    )
    return Response(page.body, page.status, page.headers)
