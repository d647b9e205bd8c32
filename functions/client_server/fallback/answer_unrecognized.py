"""Answer requests that no other function serves: preflights, unknown paths, and methods of paths without a
GET.

https://spec.matrix.org/v1.19/client-server-api/#api-standards
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.endpoint.http import answer_other


@endpoint("ANY", "/{proxy+}", auth=Auth.NONE)
def handler(request: Request) -> Answer:
    return answer_other(request)
