"""Accept the proof that a mail was read.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidemailrequesttoken
"""

from __future__ import annotations

from murmuration.accounts.threepids import validation
from murmuration.endpoint import Auth, Request, Response, endpoint


@endpoint(
    "POST",
    "/_matrix/client/{version}/account/3pid/email/submitToken",
    auth=Auth.NONE,
    versions=("v3",),
    for_people=True,
)
def handler(request: Request) -> Response:
    sid, client_secret, token = (request.query.get(name, "") for name in ("sid", "client_secret", "token"))
    page = validation.submit_page(sid, client_secret, token)
    return Response(page.body, page.status, page.headers)
