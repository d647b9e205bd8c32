"""The request as the client sent it; API Gateway changes some of it before a function gets it.

An HTTP API decodes the path before it finds a route, and decodes parameters. It decides by the content type
whether a body is text. So CloudFront's viewer function adds the exact URI and the content type in headers of
its own (`infra_shared/viewer.js`).
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html
"""

from __future__ import annotations

from collections.abc import Mapping

from murmuration.protocol.encoding.shapes import LambdaEvent

URI_HEADER = "x-murmuration-uri"
TYPE_HEADER = "x-murmuration-content-type"
ABSENT_WHEN_EMPTY = frozenset(("after", "at", "before", "filter", "from", "server", "since", "to"))
"""Query parameters that count as absent when their value is empty."""


def headers_of(event: LambdaEvent) -> dict[str, str]:
    """Return the headers' values by lower-case name. The content type is the one that the client sent."""
    found = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    if TYPE_HEADER in found:
        found["content-type"] = found.pop(TYPE_HEADER)
    return found


def query_of(event: LambdaEvent) -> dict[str, str]:
    """Return each query parameter's last value, without empty values of the parameters that may not
    be empty.
    """
    given = event.get("queryStringParameters") or {}
    return {name: value for name, value in given.items() if value or name not in ABSENT_WHEN_EMPTY}


def path_parameters(event: LambdaEvent, uri: str | None) -> Mapping[str, str]:
    """Return the path parameters as they were sent, percent-encoding kept.

    `uri` is the URI from the viewer function, if there is one. It is used if it fits the route that the
    gateway chose. A request that bypasses CloudFront may claim any URI, but only one of this route.
    """
    if uri is not None:
        found = _fitted(str(event["resource"]), uri.partition("?")[0])
        if found is not None:
            return found
    return event.get("pathParameters") or {}


def _fitted(route: str, path: str) -> dict[str, str] | None:
    """Return the parameters of the route `route` in `path`; None if the path doesn't match the route."""
    names, values = route.strip("/").split("/"), path.strip("/").split("/")
    if len(names) != len(values) or route.endswith("+}"):
        return None
    found = {}
    for name, value in zip(names, values, strict=True):
        if name.startswith("{"):
            found[name[1:-1]] = value
        elif name != value:
            return None
    return found
