"""Ask another server, in a signed request, what it got."""

from __future__ import annotations

from collections.abc import Mapping

from murmuration.endpoint import Auth, Request, endpoint
from murmuration.federation.requests import client


@endpoint("POST", "/ask/{serverName}", auth=Auth.NONE)
def handler(request: Request) -> Mapping[str, object]:
    body = request.json_object()
    path = client.path("_matrix", "federation", "v1", "echo", body["word"])
    return client.request(
        request.params["serverName"], "PUT", path, query=body["query"], body=body["content"]
    )
