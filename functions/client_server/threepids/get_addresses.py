"""List the requester's addresses.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3account3pid
"""

from __future__ import annotations

from murmuration.accounts.threepids import contacts
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint


@endpoint("GET", "/_matrix/client/{version}/account/3pid", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return contacts.get_addresses(request.requester)
