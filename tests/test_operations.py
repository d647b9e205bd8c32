"""Every operation of the specification's client-server API is served, or there is a reason why not."""

from __future__ import annotations

import re

from murmuration.endpoint import discover, http_routes
from tests import openapi

NOT_SERVED = {
    "bind3PID": "no identity servers",
    "unbind3pidFromAccount": "no identity servers",
    "getAuthMetadata": "no OAuth API: users log in by the older one",
    "getProtocolMetadata": "no bridges",
    "queryLocationByProtocol": "no bridges",
    "queryUserByProtocol": "no bridges",
    "queryLocationByAlias": "no bridges",
    "queryUserByID": "no bridges",
    "pingAppservice": "no application services",
    "updateAppserviceRoomDirectoryVisibility": "no application services",
    "getWellknownPolicy": "this is no policy server",
    "getUrlPreviewAuthed": "no previews yet",
    "getUrlPreview": "deprecated, no previews yet",
}
"""Each operation without a function of its own: the fallback answers 404 M_UNRECOGNIZED."""


def served(operation: openapi.Operation, routes: list[tuple[str, str]]) -> bool:
    """Whether a route serves the operation: sample paths of each version of the route match its pattern."""
    return any(
        method.lower() == operation.method and operation.pattern.fullmatch(sample)
        for method, path in routes
        for sample in (path, f"{path}/")
    )


def test_each_operation_is_served_or_has_a_reason() -> None:
    specification = openapi.required()
    routes = [
        (method, re.sub(r"\{\w+\}", "x", path.replace("{version}", version)))
        for method, path, function in http_routes(discover())
        for version in ("v1", "v3", "r0")
        if "{proxy+}" not in path
    ]
    missing = {
        operation.name
        for operation in specification.operations
        if "client-server" in operation.location and not served(operation, routes)
    }
    assert sorted(missing) == sorted(NOT_SERVED)
