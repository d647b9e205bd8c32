"""Add or change a push rule.

https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleid
"""

from __future__ import annotations

from murmuration import push_rules
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint


@endpoint("PUT", "/_matrix/client/{version}/pushrules/global/{kind}/{ruleId}", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    params = request.params
    push_rules.set_push_rule(
        request.requester.user_id,
        params["kind"],
        params["ruleId"],
        request.json_object(),
        before=request.query.get("before"),
        after=request.query.get("after"),
    )
    return {}
