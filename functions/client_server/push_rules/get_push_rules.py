"""Read all push rules.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrules
"""

from __future__ import annotations

from murmuration import push_rules
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint


@endpoint("GET", "/_matrix/client/{version}/pushrules", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return push_rules.get_push_rules(request.requester.user_id)
