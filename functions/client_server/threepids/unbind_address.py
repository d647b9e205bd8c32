"""Unbind an address from an identity server: this server uses none.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidunbind
"""

from __future__ import annotations

from murmuration.accounts.threepids import contacts
from murmuration.endpoint import CLIENT_VERSIONS, Request, endpoint


@endpoint("POST", "/_matrix/client/{version}/account/3pid/unbind", versions=CLIENT_VERSIONS)
def handler(request: Request) -> dict[str, str]:
    return contacts.unbind_address(request.fields())
