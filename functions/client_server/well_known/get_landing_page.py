"""Return the page for people who open the server's address in a browser.

It shows them what programs learn by https://spec.matrix.org/v1.19/client-server-api/#server-discovery
"""

from __future__ import annotations

from murmuration import landing
from murmuration.endpoint import Auth, Request, Response, endpoint


@endpoint("GET", "/", auth=Auth.NONE, for_people=True)
def handler(_request: Request) -> Response:
    page = landing.get_landing_page()
    return Response(page.body, page.status, page.headers)
