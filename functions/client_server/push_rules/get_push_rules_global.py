"""Read the push rules of the global ruleset, which is the only one.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobal
"""

from __future__ import annotations

from murmuration import push_rules
from murmuration.endpoint import CLIENT_VERSIONS, Request, endpoint
from murmuration.protocol.push_rules.ruleset import Ruleset


@endpoint("GET", "/_matrix/client/{version}/pushrules/global", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Ruleset:
    return push_rules.ruleset_for(request.requester.user_id)
