"""Return the page that a user sees after following the link in a mail.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidemailrequesttoken
"""

from __future__ import annotations

from murmuration.accounts.threepids import validation
from murmuration.endpoint import Auth, Request, Response, endpoint


@endpoint(
    "GET",
    "/_matrix/client/{version}/account/3pid/email/submitToken",
    auth=Auth.NONE,
    versions=("v3",),
    for_people=True,
)
def handler(_request: Request) -> Response:
    page = validation.get_submit_page()
    return Response(page.body, page.status, page.headers)
