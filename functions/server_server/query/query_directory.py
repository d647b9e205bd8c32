"""Tell another server what room an alias of this server points to.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1querydirectory
"""

from __future__ import annotations

from typing import Any

from murmuration.endpoint import Auth, Request, endpoint
from murmuration.federation.membership.serving.queries import query_directory


@endpoint("GET", "/_matrix/federation/v1/query/directory", auth=Auth.SERVER)
def handler(request: Request) -> dict[str, Any]:
    return query_directory(request.query.get("room_alias"))
