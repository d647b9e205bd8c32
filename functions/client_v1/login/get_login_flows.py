"""Return the flows of stages by which users can log in.

The founding draft's "Registration and login"; today:
https://spec.matrix.org/v1.19/client-server-api/#legacy-login
"""

from __future__ import annotations

from murmuration.drafts.v1 import logins
from murmuration.endpoint import Answer, Auth, Request, endpoint


@endpoint("GET", "/_matrix/client/api/v1/login", auth=Auth.NONE)
def handler(_request: Request) -> Answer:
    return logins.get_login_flows()
