"""Look for a third-party network, or for rooms or users of one: there are none.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartyprotocolprotocol
"""

from __future__ import annotations

from typing import NoReturn

from murmuration.endpoint import CLIENT_VERSIONS, Request, endpoint
from murmuration.search import third_party

REQUIRED = {"location": "alias", "user": "userid"}
"""The query parameter that the last part of a path requires."""


@endpoint(
    "GET",
    "/_matrix/client/{version}/thirdparty/protocol/{protocol}",
    versions=CLIENT_VERSIONS,
    also=(
        "/_matrix/client/{version}/thirdparty/location",
        "/_matrix/client/{version}/thirdparty/location/{protocol}",
        "/_matrix/client/{version}/thirdparty/user",
        "/_matrix/client/{version}/thirdparty/user/{protocol}",
    ),
)
def handler(request: Request) -> NoReturn:
    last = None if "protocol" in request.params else request.path.rpartition("/")[2]
    third_party.look_up(request.query, required=REQUIRED.get(last or ""))
