"""Tell what software this server runs.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1version
"""

from __future__ import annotations

from typing import Any

from murmuration.endpoint import Auth, Request, endpoint
from murmuration.federation import discovery


@endpoint("GET", "/_matrix/federation/v1/version", auth=Auth.NONE)
def handler(_request: Request) -> dict[str, Any]:
    return discovery.get_version()
