"""Read the push rules of one kind. The specification no longer has this endpoint, but Synapse does.

https://spec.matrix.org/v1.19/client-server-api/#push-rules-api
"""

from __future__ import annotations

from murmuration import push_rules
from murmuration.endpoint import CLIENT_VERSIONS, Request, endpoint
from murmuration.protocol.push_rules.defaults import Rule


@endpoint("GET", "/_matrix/client/{version}/pushrules/global/{kind}", versions=CLIENT_VERSIONS)
def handler(request: Request) -> list[Rule]:
    return push_rules.get_push_rules_of_kind(request.requester.user_id, request.params["kind"])
