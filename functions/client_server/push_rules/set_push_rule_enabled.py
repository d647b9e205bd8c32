"""Enable or disable a push rule.

https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleidenabled
"""

from __future__ import annotations

from typing import Any

from murmuration import push_rules
from murmuration.endpoint import CLIENT_VERSIONS, Request, endpoint


@endpoint(
    "PUT",
    "/_matrix/client/{version}/pushrules/global/{kind}/{ruleId}/enabled",
    versions=CLIENT_VERSIONS,
)
def handler(request: Request) -> dict[str, Any]:
    params = request.params
    push_rules.set_push_rule_enabled(
        request.requester.user_id, params["kind"], params["ruleId"], request.json_object()
    )
    return {}
