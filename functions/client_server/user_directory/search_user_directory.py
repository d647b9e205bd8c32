"""Search for users.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3user_directorysearch
"""

from __future__ import annotations

from typing import Any

from murmuration.endpoint import CLIENT_VERSIONS, Request, endpoint
from murmuration.search import user_directory


@endpoint("POST", "/_matrix/client/{version}/user_directory/search", versions=CLIENT_VERSIONS)
def handler(request: Request) -> dict[str, Any]:
    return user_directory.search_user_directory(request.requester, request.fields())
