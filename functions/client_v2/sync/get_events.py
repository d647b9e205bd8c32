"""Return the events since a streaming token, or wait for them.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from murmuration.drafts.v2.event_stream import DEFAULT_TIMEOUT_MS, get_events
from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.protocol.errors import MissingParam


@endpoint("GET", "/_matrix/client/v2/eventStream", auth=Auth.DEFERRED_ACCESS_TOKEN)
def handler(request: Request) -> Answer:
    timeout_ms = request.query_int("timeout", DEFAULT_TIMEOUT_MS)
    out_of_order = request.query_bool("out_of_order")
    streaming = request.query.get("streaming")
    if streaming is None:
        raise MissingParam("The query parameter streaming is missing: it names the stream")
    return get_events(
        request.access_token,
        streaming,
        request.query.get("filter"),
        timeout_ms=timeout_ms,
        out_of_order=out_of_order,
    )
