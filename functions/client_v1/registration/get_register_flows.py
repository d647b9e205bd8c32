"""Return the flows of stages by which users can register.

The founding draft's "Registration and login"; today:
https://spec.matrix.org/v1.19/client-server-api/#legacy-account-registration
"""

from __future__ import annotations

from murmuration.drafts.v1 import logins
from murmuration.endpoint import Answer, Auth, Request, endpoint


@endpoint("GET", "/_matrix/client/api/v1/register", auth=Auth.NONE)
def handler(_request: Request) -> Answer:
    return logins.get_register_flows()
