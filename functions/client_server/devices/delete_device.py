"""Delete one of the requester's devices.

https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3devicesdeviceid
"""

from __future__ import annotations

from murmuration.accounts import devices
from murmuration.accounts.interactive.interactive_auth import Attempt
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint


@endpoint(
    "DELETE",
    "/_matrix/client/{version}/devices/{deviceId}",
    versions=CLIENT_VERSIONS,
    also=("/_matrix/client/v2/devices/{deviceId}",),
)
def handler(request: Request) -> Answer:
    return devices.delete_device(
        request.requester,
        request.params["deviceId"],
        Attempt(request.method, request.path, request.json_object(optional=True), request.source_ip),
    )
