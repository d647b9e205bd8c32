"""Return another server's signing keys, as a notary. A key ID at the end of the path is ignored.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2queryservername
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.federation.keys import notary


@endpoint(
    "GET",
    "/_matrix/key/v2/query/{serverName}",
    auth=Auth.NONE,
    also=("/_matrix/key/v2/query/{serverName}/{keyId}",),
)
def handler(request: Request) -> Answer:
    given = "minimum_valid_until_ts" in request.query
    minimum = request.query_int("minimum_valid_until_ts", 0) if given else None
    return notary.query_server_keys(request.params["serverName"], minimum, request.source_ip)
