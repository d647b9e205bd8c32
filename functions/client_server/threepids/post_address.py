"""Add a proved address to the requester's account, at the path from before `/account/3pid/add`.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pid
"""

from __future__ import annotations

from murmuration.accounts.interactive.interactive_auth import Attempt
from murmuration.accounts.threepids import contacts
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint


@endpoint("POST", "/_matrix/client/{version}/account/3pid", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return contacts.post_address(
        request.requester,
        Attempt(request.method, request.path, request.json_object(), request.source_ip),
    )
