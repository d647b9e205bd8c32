"""Rename one of the requester's devices.

https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3devicesdeviceid
"""

from __future__ import annotations

from murmuration.accounts import devices
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint


@endpoint("PUT", "/_matrix/client/{version}/devices/{deviceId}", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return devices.update_device(request.requester, request.params["deviceId"], request.json_object())
