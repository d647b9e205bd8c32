"""Let a user choose the identity provider for a stage `m.login.oauth2`.

The founding draft's "service selection URI"; today:
https://spec.matrix.org/v1.19/client-server-api/#legacy-login
"""

from __future__ import annotations

from murmuration.accounts.interactive import oauth2_stage
from murmuration.endpoint import Auth, Request, Response, endpoint


@endpoint("GET", "/_matrix/client/api/v1/login/oauth2", auth=Auth.NONE, for_people=True)
def handler(request: Request) -> Response:
    page = oauth2_stage.choose(
        request.query.get("choice", ""),
        provider_id=request.query.get("provider"),
        source_ip=request.source_ip,
    )
    return Response(page.body, page.status, page.headers)
