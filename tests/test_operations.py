"""Every operation of the specification's client-server API is served, or there is a reason why not.

`operations.txt` lists the operations of v1.19: name, method, path. Where the specification is at hand, the
list is held to it.
"""

from __future__ import annotations

import re
from pathlib import Path

from local_cloud.gateway.routes import Routes
from murmuration.endpoint import Function, Http, discover, http_routes
from tests import openapi

LIST = Path(__file__).with_name("operations.txt")
FALLBACK = ("ANY", "/{proxy+}")
NOT_SERVED = {
    "bind3PID": "no identity servers",
    "getAuthMetadata": "no OAuth API: users log in by the older one",
    "pingAppservice": "no application services",
    "updateAppserviceRoomDirectoryVisibility": "no application services",
    "getWellknownPolicy": "this is no policy server",
}
"""Each operation without a function of its own: the fallback answers 404 M_UNRECOGNIZED."""


def operations() -> set[tuple[str, str, str]]:
    """Return (name, method, path) of each operation in the list."""
    found = set()
    for line in LIST.read_text().splitlines():
        name, method, path = line.split()
        found.add((name, method, path))
    return found


def is_served(routes: Routes, method: str, path: str) -> bool:
    """Return whether a function other than the fallback answers this method, path and version."""
    match = routes.match(re.sub(r"\{\w+\}", "x", path), method)
    if match is None or not isinstance(match.function, Function):
        return False
    route = match.function.route
    if not isinstance(route, Http) or (route.method, route.path) == FALLBACK:
        return False
    version = re.search(r"/(v\d)/", path)
    return version is None or not route.versions or version[1] in route.versions


def test_each_operation_is_served_or_has_a_reason() -> None:
    routes = Routes(http_routes(discover()))
    missing = {name for name, method, path in operations() if not is_served(routes, method, path)}
    assert sorted(missing) == sorted(NOT_SERVED)


def test_the_list_is_the_specifications() -> None:
    specification = openapi.required()
    theirs = {
        (operation.name, operation.method.upper())
        for operation in specification.operations
        if "client-server" in operation.location
    }
    assert {(name, method) for name, method, _ in operations()} == theirs
