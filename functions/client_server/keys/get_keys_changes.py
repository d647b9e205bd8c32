"""Return the users whose keys changed since a sync.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3keyschanges
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.endpoint import CLIENT_VERSIONS, Auth, Request, endpoint
from murmuration.sync.key_changes import get_keys_changes

if TYPE_CHECKING:
    from murmuration.sync.readers.json_types import DeviceListsSection


@endpoint(
    "GET",
    "/_matrix/client/{version}/keys/changes",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    versions=CLIENT_VERSIONS,
)
def handler(request: Request) -> DeviceListsSection:
    return get_keys_changes(request.access_token, request.query.get("from"), request.query.get("to"))
