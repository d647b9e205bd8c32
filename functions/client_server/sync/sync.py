"""Synchronise the client with the server. https://spec.matrix.org/v1.19/client-server-api/#syncing"""

from __future__ import annotations

from typing import Any

from murmuration.endpoint import CLIENT_VERSIONS, Auth, Request, endpoint
from murmuration.sync.engine import SyncRequest, sync


@endpoint("GET", "/_matrix/client/{version}/sync", auth=Auth.DEFERRED_ACCESS_TOKEN, versions=CLIENT_VERSIONS)
def handler(request: Request) -> dict[str, Any]:
    return sync(
        SyncRequest(
            token=request.access_token,
            since=request.query.get("since"),
            filter=request.query.get("filter"),
            full_state=request.query_bool("full_state"),
            state_after=request.query_bool("use_state_after"),
            timeout_ms=request.query_int("timeout", 0),
        )
    )
