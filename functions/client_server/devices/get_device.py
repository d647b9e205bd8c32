"""Return one of the requester's devices.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devicesdeviceid
"""

from __future__ import annotations

from murmuration.accounts import devices
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint


@endpoint(
    "GET",
    "/_matrix/client/{version}/devices/{deviceId}",
    versions=CLIENT_VERSIONS,
    also=("/_matrix/client/v2/devices/{deviceId}",),
)
def handler(request: Request) -> Answer:
    return devices.get_device(request.requester, request.params["deviceId"])
