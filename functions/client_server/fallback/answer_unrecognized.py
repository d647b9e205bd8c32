"""Answer requests that no other function serves: preflights, unknown paths, known paths with another method.

https://spec.matrix.org/v1.19/client-server-api/#api-standards
"""

from __future__ import annotations

from murmuration.drafts.v1.invalid_forms import explain
from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.protocol.errors import MethodNotAllowed, Unrecognized
from murmuration.protocol.push_rules.paths import check_path


@endpoint("ANY", "/{proxy+}", auth=Auth.NONE)
def handler(request: Request) -> Answer:
    if request.method == "OPTIONS":
        return {}
    check_path(request.method, request.path)
    advice = explain(request.method, request.path, request.resource)
    if request.resource == "/{proxy+}":
        raise Unrecognized(advice or "There is no such endpoint")
    raise MethodNotAllowed(advice or "This endpoint has no such method")
