"""Revoke one of the requester's access tokens.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from murmuration.accounts.revocation import revoke_token
from murmuration.endpoint import Answer, Request, endpoint


@endpoint("POST", "/_matrix/client/v2/account/revokeToken")
def handler(request: Request) -> Answer:
    revoke_token(request.requester, request.fields().string("access_token"))
    return {}
