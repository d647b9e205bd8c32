"""Synchronise the client with the server. https://spec.matrix.org/v1.19/client-server-api/#syncing"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.endpoint import CLIENT_VERSIONS, Auth, Request, endpoint
from murmuration.protocol.presence import ONLINE, TODAYS
from murmuration.settings import settings
from murmuration.sync.context import state_after_of
from murmuration.sync.engine import sync
from murmuration.sync.marks import PARKED_BY, STATE_AFTER, UNSTABLE_STATE_AFTER, fingerprint
from murmuration.sync.request import SyncRequest

if TYPE_CHECKING:
    from murmuration.sync.readers.json_types import SyncAnswer


@endpoint("GET", "/_matrix/client/{version}/sync", auth=Auth.DEFERRED_ACCESS_TOKEN, versions=CLIENT_VERSIONS)
def handler(request: Request) -> SyncAnswer:
    parks, at_edge = settings().waiting == "parked", settings().waits == "edge"
    asked = [request.headers.get("authorization", ""), *(request.query.get(name, "") for name in PARKED_BY)]
    return sync(
        SyncRequest(
            token=request.access_token,
            since=request.query.get("since"),
            filter=request.query.get("filter"),
            full_state=request.query_bool("full_state"),
            state_after=state_after_of(
                request.query_bool(STATE_AFTER), request.query_bool(UNSTABLE_STATE_AFTER)
            ),
            set_presence=request.query_choice("set_presence", TODAYS, ONLINE),
            timeout_ms=request.query_int("timeout", 0),
            fingerprint=fingerprint(asked, at_edge=at_edge) if parks else "",
            names_place=not parks,
            takes_text=True,
        )
    )
