"""Tell a server what it sent."""

from __future__ import annotations

from typing import Any

from murmuration.endpoint import Auth, Request, endpoint


@endpoint("PUT", "/_matrix/federation/v1/echo/{tag}", auth=Auth.SERVER)
def handler(request: Request) -> dict[str, Any]:
    return {
        "origin": request.origin,
        "word": request.params["tag"],
        "query": request.query,
        "content": request.content,
    }
