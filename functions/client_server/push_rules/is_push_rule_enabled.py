"""Read whether a push rule is enabled.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleidenabled
"""

from __future__ import annotations

from murmuration import push_rules
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint


@endpoint(
    "GET",
    "/_matrix/client/{version}/pushrules/global/{kind}/{ruleId}/enabled",
    versions=CLIENT_VERSIONS,
)
def handler(request: Request) -> Answer:
    params = request.params
    rule = push_rules.get_push_rule(request.requester.user_id, params["kind"], params["ruleId"])
    return {"enabled": rule["enabled"]}
