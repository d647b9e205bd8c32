"""Return the user to whom an OpenID token belongs.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1openiduserinfo
"""

from __future__ import annotations

from murmuration.accounts import openid
from murmuration.endpoint import Auth, Request, endpoint


@endpoint("GET", "/_matrix/federation/v1/openid/userinfo", auth=Auth.NONE)
def handler(request: Request) -> dict[str, str]:
    return {"sub": openid.openid_user(request.query.get("access_token"))}
