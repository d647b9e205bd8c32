"""Delete several of the requester's devices.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3delete_devices
"""

from __future__ import annotations

from murmuration.accounts import devices
from murmuration.accounts.interactive.interactive_auth import Attempt
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint


@endpoint("POST", "/_matrix/client/{version}/delete_devices", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return devices.delete_devices(
        request.requester, Attempt(request.method, request.path, request.json_object(), request.source_ip)
    )
