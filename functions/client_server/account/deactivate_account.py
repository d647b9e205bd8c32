"""Deactivate the account permanently.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate
"""

from __future__ import annotations

from murmuration.accounts import management
from murmuration.accounts.interactive.interactive_auth import Attempt
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint


@endpoint(
    "POST",
    "/_matrix/client/{version}/account/deactivate",
    auth=Auth.OPTIONAL_ACCESS_TOKEN,
    versions=CLIENT_VERSIONS,
    also=("/_matrix/client/v2/account/deactivate",),
)
def handler(request: Request) -> Answer:
    return management.deactivate_account(
        request.optional_requester,
        Attempt(request.method, request.path, request.json_object(), request.source_ip),
    )
