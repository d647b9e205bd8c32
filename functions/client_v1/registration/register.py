"""Register, stage by stage.

The founding draft's "Registration and login"; today: https://spec.matrix.org/v1.19/client-server-api/#legacy-account-registration
"""

from __future__ import annotations

from murmuration.drafts.v1 import logins
from murmuration.endpoint import Answer, Auth, Request, endpoint


@endpoint("POST", "/_matrix/client/api/v1/register", auth=Auth.NONE)
def handler(request: Request) -> Answer:
    return logins.register(request.json_object(), source_ip=request.source_ip)
