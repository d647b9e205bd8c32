"""Return the servers for calls. Apps also request them without a token.

https://github.com/matrix-org/matrix-spec-proposals/pull/4143
"""

from __future__ import annotations

from murmuration import server_discovery
from murmuration.endpoint import Answer, Auth, Request, endpoint


@endpoint(
    "GET",
    "/_matrix/client/{version}/rtc/transports",
    auth=Auth.OPTIONAL_ACCESS_TOKEN,
    versions=("v1", "unstable"),
    also=("/_matrix/client/{version}/org.matrix.msc4143/rtc/transports",),
)
def handler(_request: Request) -> Answer:
    return server_discovery.get_rtc_transports()
