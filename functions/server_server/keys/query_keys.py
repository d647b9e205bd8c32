"""Return several servers' signing keys, as a notary.

https://spec.matrix.org/v1.19/server-server-api/#post_matrixkeyv2query
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.federation.keys import notary
from murmuration.protocol.bodies import object_of, required


@endpoint("POST", "/_matrix/key/v2/query", auth=Auth.NONE)
def handler(request: Request) -> Answer:
    wanted = object_of(required(request.json_object(), "server_keys"), "server_keys")
    return notary.query_keys(wanted, request.source_ip)
