"""Search for users.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3user_directorysearch
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.search import user_directory


@endpoint("POST", "/_matrix/client/{version}/user_directory/search", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return user_directory.search_user_directory(request.requester, request.fields())
