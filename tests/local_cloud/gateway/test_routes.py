from __future__ import annotations

import pytest

from local_cloud.gateway.routes import RouteConflict, Routes
from murmuration.endpoint import Http
from tests.local_cloud.routed import Routed


def named(name: str) -> Routed:
    return Routed(lambda event, context: None, Http("GET", "/"), name=name)


def routes(*entries: str) -> Routes:
    """Return routes from "METHOD path" strings, each to a function of that name."""
    return Routes((*entry.split(" "), named(entry)) for entry in entries)  # type: ignore[misc]


def matched(tree: Routes, path: str, method: str = "GET") -> str | None:
    match = tree.match(path, method)
    return match.function.name if match and match.function else None


TREE = routes(
    "GET /_matrix/client/versions",
    "GET /_matrix/client/{version}/rooms/{roomId}/state",
    "GET /_matrix/client/{version}/rooms/{roomId}/state/{eventType}",
    "GET /_matrix/client/{version}/rooms/{roomId}/state/{eventType}/{stateKey}",
    "GET /_matrix/client/{version}/rooms/{roomId}/state/m.special",
    "GET /_matrix/client/{version}/directory/room/{roomAlias}",
    "PUT /_matrix/client/{version}/directory/room/{roomAlias}",
    "GET /_matrix/media/{proxy+}",
    "ANY /{proxy+}",
)


@pytest.mark.parametrize(
    ("path", "function"),
    [
        ("/_matrix/client/versions", "GET /_matrix/client/versions"),
        ("/_matrix/client/v3/rooms/!a/state", "GET /_matrix/client/{version}/rooms/{roomId}/state"),
        ("/_matrix/client/v3/rooms/!a/state/", "GET /_matrix/client/{version}/rooms/{roomId}/state"),
        (
            "/_matrix/client/v3/rooms/!a/state/m.special",
            "GET /_matrix/client/{version}/rooms/{roomId}/state/m.special",
        ),
        (
            "/_matrix/client/v3/rooms/!a/state/m.special/key",
            "GET /_matrix/client/{version}/rooms/{roomId}/state/{eventType}/{stateKey}",
        ),
        (
            "/_matrix/client/v3/directory/room/%23a%2Fb:c",
            "GET /_matrix/client/{version}/directory/room/{roomAlias}",
        ),
        ("/_matrix/client/v3/directory/room/a/b", "ANY /{proxy+}"),
        ("/_matrix/client/v3/rooms//state", "ANY /{proxy+}"),
        ("/_matrix/client/v3/rooms/!a", "ANY /{proxy+}"),
        ("/_matrix/media/v3/download/a/b", "GET /_matrix/media/{proxy+}"),
        ("/", "ANY /{proxy+}"),
        ("", "ANY /{proxy+}"),
    ],
)
def test_the_most_specific_resource_answers(path: str, function: str | None) -> None:
    assert matched(TREE, path) == function


def test_parameters_are_raw() -> None:
    match = TREE.match("/_matrix/client/v3/directory/room/%23a%2Fb%25:c%20d", "PUT")
    assert match is not None
    assert match.parameters == {"version": "v3", "roomAlias": "%23a%2Fb%25:c%20d"}
    assert match.resource.path == "/_matrix/client/{version}/directory/room/{roomAlias}"


def test_a_greedy_parameter_takes_the_rest() -> None:
    match = TREE.match("/_matrix/nowhere/at%2Fall/x", "GET")
    assert match is not None
    assert match.parameters == {"proxy": "_matrix/nowhere/at%2Fall/x"}


def test_parameters_of_a_dead_end_are_forgotten() -> None:
    match = TREE.match("/_matrix/client/v3/rooms/!a/nothing", "GET")
    assert match is not None
    assert match.parameters == {"proxy": "_matrix/client/v3/rooms/!a/nothing"}


@pytest.mark.parametrize(
    ("path", "method", "function"),
    [
        ("/_matrix/client/versions", "HEAD", "GET /_matrix/client/versions"),
        ("/_matrix/client/versions", "DELETE", "GET /_matrix/client/versions"),
        ("/written", "HEAD", "ANY /{proxy+}"),
        ("/written", "GET", "ANY /{proxy+}"),
    ],
)
def test_a_missing_method_goes_to_get_or_else_the_fallback_with_the_resource_kept(
    path: str, method: str, function: str
) -> None:
    match = routes("GET /_matrix/client/versions", "POST /written", "ANY /{proxy+}").match(path, method)
    assert match is not None
    assert match.function is not None
    assert match.function.name == function
    assert match.resource.path == path


def test_a_missing_method_without_a_fallback_has_no_function() -> None:
    match = routes("GET /a").match("/a", "POST")
    assert match is not None
    assert match.function is None


def test_two_functions_for_one_route_are_refused() -> None:
    with pytest.raises(RouteConflict, match="both"):
        routes("GET /a/{b}", "GET /a/{b}")


def test_siblings_with_different_parameter_names_are_refused_as_api_gateway_does() -> None:
    with pytest.raises(RouteConflict, match="another name"):
        routes("GET /rooms/{roomId}/state", "GET /rooms/{roomIdOrAlias}/join")
