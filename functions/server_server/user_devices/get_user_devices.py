"""Return all devices of a local user to another server.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.federation.devices.serving import get_user_devices


@endpoint("GET", "/_matrix/federation/v1/user/devices/{userId}", auth=Auth.SERVER)
def handler(request: Request) -> Answer:
    return get_user_devices(request.origin, request.params["userId"])
