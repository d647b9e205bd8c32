"""The function that runs in CloudFront."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from infra_cdk.parts.edge import SOCKET_PATHS, VIEWER
from local_cloud.gateway.events import HttpRequest, needs_uri_header
from murmuration.endpoint.gateway import GATEWAY_ANSWERS
from murmuration.endpoint.http import CORS_HEADERS
from tests.local_cloud.test_parking import INTERNAL, NOT_INTERNAL

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
HARNESS = Path(__file__).with_name("viewer_harness.cjs")


def view(uri: str, method: str = "GET", **headers: str) -> Any:
    """What the function makes of a request."""
    sent = {name: {"value": found} for name, found in headers.items()}
    event = json.dumps({"method": method, "uri": uri, "headers": sent})
    command = ["node", str(HARNESS), str(VIEWER)]
    process = subprocess.run(command, input=event, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


@pytest.mark.parametrize(
    "uri",
    [
        "/_matrix/federation/v1/query/directory?room_alias=%23a%3Aexample.org",
        "/_matrix/federation/v1/event/%24a%2Fb",
        "/_matrix/client/v3/sync?b=2&a=1&b=3",
        "/_matrix/client/v3/sync?",
        "/_matrix/client/v3/sync?a=%25&c=+%20",
        "/_matrix/federation/v1/state/!a:b",
        "/_matrix/federation//v1/version",
        "/_matrix/federation/./v1/version",
        "/_matrix/federation/../v1/version",
        "/_matrix/federation/v1/version/",
        "/",
    ],
)
def test_the_exact_uri_is_passed_on(uri: str) -> None:
    seen = view(uri)
    assert seen["headers"]["x-murmuration-uri"] == {"value": uri}
    assert seen["uri"] == uri.partition("?")[0]


@pytest.mark.parametrize(
    "uri", ["/_matrix/key/v2/server", "/_matrix/federation/v1/send/167-1.a_b~c", "/_matrix/client/versions"]
)
def test_a_uri_that_can_only_be_written_one_way_is_not_sent_twice(uri: str) -> None:
    seen = view(uri)
    assert "x-murmuration-uri" not in seen["headers"]
    assert seen["uri"] == uri


@pytest.mark.parametrize("uri", ["/_matrix/key/v2/server", "/_matrix/key/v2/server/ed25519%3Aa"])
def test_a_client_can_not_say_what_the_uri_was(uri: str) -> None:
    seen = view(uri, **{"x-murmuration-uri": "/elsewhere"})
    assert seen["headers"].get("x-murmuration-uri", {"value": uri}) == {"value": uri}


PATHS = ("/", "/a", "/a/", "/a.b/c~d", "/.a", "/a/..", "//a", "/a%41", "/a:b", "/a/é", "/_m/-/~")


def test_the_local_gateway_sends_the_uri_in_the_same_cases() -> None:
    for path in PATHS:
        for query in ("", "a=1"):
            request = HttpRequest("GET", path, query, [], "192.0.2.1", "HTTP/1.1")
            seen = view(f"{path}?{query}" if query else path)
            assert ("x-murmuration-uri" in seen["headers"]) is needs_uri_header(request), (path, query)


def test_preflights_are_answered_as_the_functions_would() -> None:
    answer = view("/_matrix/client/v3/sync", "OPTIONS")
    assert answer["statusCode"] == 204
    headers = {name: found["value"] for name, found in answer["headers"].items()}
    for name, value in CORS_HEADERS.items():
        assert headers[name.lower()] == value


def test_sockets_go_to_the_one_path_that_their_api_has() -> None:
    for uri in ("/_matrix/client/v3/stream?since=s1", "/_matrix/client/r0/stream"):
        seen = view(uri)
        assert seen["uri"] == "/ws"
        sent = {"value": uri} if "?" in uri else None
        assert seen["headers"].get("x-murmuration-uri") == sent
    assert view("/ws?since=s1")["uri"] == "/ws"
    for uri in ("/_matrix/client/v3/profile/@a:b/stream", "/_matrix/client/v3/streams"):
        assert view(uri)["uri"] == uri


def test_only_the_sockets_paths_reach_the_sockets_api() -> None:
    """CloudFront's patterns know `*` and `?` only, and neither stops at a slash."""
    patterns = [re.compile(re.escape(path).replace(r"\?", ".").replace(r"\*", ".*")) for path in SOCKET_PATHS]
    assert any(pattern.fullmatch("/_matrix/client/v3/stream") for pattern in patterns)
    for other in ("/_matrix/client/v3/profile/@a:b/stream", "/_matrix/client/v3/sendToDevice/m.x/stream"):
        assert not any(pattern.fullmatch(other) for pattern in patterns)


@pytest.mark.parametrize("uri", INTERNAL)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_nobody_comes_to_the_queues_path_from_outside(uri: str, method: str) -> None:
    answer = view(f"{uri}?wait=1&keep=a&call=b&keys=ImEiOjE", method)
    assert answer["statusCode"] == 404
    assert json.loads(answer["body"]) == GATEWAY_ANSWERS["MISSING_AUTHENTICATION_TOKEN"][1]
    assert answer["headers"]["access-control-allow-origin"] == {"value": "*"}


@pytest.mark.parametrize("uri", NOT_INTERNAL)
def test_other_paths_only_look_like_the_queues(uri: str) -> None:
    assert view(uri)["uri"] == uri


def test_it_is_small_enough() -> None:
    assert VIEWER.stat().st_size < 10_240
