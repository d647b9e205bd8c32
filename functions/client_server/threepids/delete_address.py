"""Remove an address from the requester's account.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3piddelete
"""

from __future__ import annotations

from murmuration.accounts.threepids import contacts
from murmuration.endpoint import CLIENT_VERSIONS, Request, endpoint


@endpoint("POST", "/_matrix/client/{version}/account/3pid/delete", versions=CLIENT_VERSIONS)
def handler(request: Request) -> dict[str, str]:
    return contacts.delete_address(request.requester, request.fields())
