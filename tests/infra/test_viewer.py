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
        "/",
    ],
)
def test_the_exact_uri_is_passed_on(uri: str) -> None:
    seen = view(uri)
    assert seen["headers"]["x-murmuration-uri"] == {"value": uri}
    assert seen["uri"] == uri.partition("?")[0]


def test_a_client_can_not_say_what_the_uri_was() -> None:
    seen = view("/_matrix/key/v2/server", **{"x-murmuration-uri": "/elsewhere"})
    assert seen["headers"]["x-murmuration-uri"] == {"value": "/_matrix/key/v2/server"}


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
        assert seen["headers"]["x-murmuration-uri"] == {"value": uri}
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
