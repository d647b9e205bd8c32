"""Tell other servers where this server's name leads to.

https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver
"""

from __future__ import annotations

from typing import Any

from murmuration.endpoint import Auth, Request, endpoint
from murmuration.federation import discovery


@endpoint("GET", "/.well-known/matrix/server", auth=Auth.NONE)
def handler(_request: Request) -> dict[str, Any]:
    return discovery.get_wellknown()
