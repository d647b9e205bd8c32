"""Register an account.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register
"""

from __future__ import annotations

from murmuration.accounts import registration
from murmuration.accounts.interactive.interactive_auth import Attempt
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint


@endpoint("POST", "/_matrix/client/{version}/register", auth=Auth.NONE, versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return registration.register(
        request.query_choice("kind", ("user", "guest"), "user"),
        Attempt(request.method, request.path, request.json_object(), request.source_ip),
    )
