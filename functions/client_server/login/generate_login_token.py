"""Create a token with which another client can log in.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token
"""

from __future__ import annotations

from murmuration.accounts import login
from murmuration.accounts.interactive.interactive_auth import Attempt
from murmuration.endpoint import Answer, Request, endpoint


@endpoint("POST", "/_matrix/client/{version}/login/get_token", versions=("v1",))
def handler(request: Request) -> Answer:
    return login.generate_login_token(
        request.requester,
        Attempt(request.method, request.path, request.json_object(optional=True), request.source_ip),
    )
