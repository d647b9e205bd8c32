"""The function that runs in CloudFront."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

from infra_cdk.parts.edge import PARKING, QUEUES, SOCKET_PATHS, VIEWER_RESPONSE, viewer_code, without_comments
from infra_cdk.settings import Settings
from infra_shared import edge_waits
from infra_shared.gateway_answers import GATEWAY_ANSWERS
from infra_shared.parking import PATH
from local_cloud.gateway.events import HttpRequest, needs_uri_header
from murmuration.endpoint.http import CORS_HEADERS
from murmuration.sync.marks import fingerprint
from tests.local_cloud.gateway.test_parking import INTERNAL, NOT_INTERNAL

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
HARNESS = Path(__file__).with_name("viewer_harness.cjs")
View = Callable[..., Any]
APIS: tuple[Literal["http", "rest"], ...] = ("http", "rest")


def code_for(api: Literal["http", "rest"], waits: Literal["edge", "rest"] = "rest") -> str:
    """Return the code as it is deployed with these settings."""
    return viewer_code(Settings(server_name="example.org", api=api, waits=waits))


def marked_sync(now_ms: int, *, at_edge: bool = False) -> str:
    """Return a /sync of a client that has seen everything and may wait."""
    asked = fingerprint(("", "", "", "", "", ""), at_edge=at_edge)
    parts = ("p_AAAAAAAAAAAA", "p3", "ab" * 16, asked, str(now_ms // 1000 + 600))
    return f"/_matrix/client/v3/sync?since={'.'.join((*parts, '', str(now_ms)))}&timeout=30000"


@contextmanager
def viewing(code: str, folder: Path) -> Iterator[View]:
    """Return a caller of viewer functions. One process runs it for all tests."""
    file = folder / "viewer.js"
    file.write_text(code)
    command = ["node", str(HARNESS), str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        stdin, stdout = process.stdin, process.stdout

        def view(uri: str, method: str = "GET", answered: Any = None, at: int = 0, **headers: str) -> Any:
            sent = {name: {"value": found} for name, found in headers.items()}
            asked = {"method": method, "uri": uri, "headers": sent, "response": answered, "at": at}
            stdin.write(json.dumps(asked) + "\n")
            stdin.flush()
            return json.loads(stdout.readline())

        yield view
        stdin.close()


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Iterator[View]:
    """Yield the function in front of REST APIs."""
    with viewing(code_for("rest"), tmp_path_factory.mktemp("viewer")) as found:
        yield found


@pytest.fixture(scope="module")
def edge_view(tmp_path_factory: pytest.TempPathFactory) -> Iterator[View]:
    """Yield the function where clients wait at the edge."""
    with viewing(code_for("rest", "edge"), tmp_path_factory.mktemp("viewer")) as found:
        yield found


@pytest.fixture(scope="module")
def http_view(tmp_path_factory: pytest.TempPathFactory) -> Iterator[View]:
    """Yield the function in front of HTTP APIs."""
    with viewing(code_for("http"), tmp_path_factory.mktemp("viewer")) as found:
        yield found


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
def test_the_exact_uri_is_passed_on(view: View, uri: str) -> None:
    seen = view(uri)
    assert seen["headers"]["x-murmuration-uri"] == {"value": uri}
    assert seen["uri"] == uri.partition("?")[0]


@pytest.mark.parametrize(
    "uri", ["/_matrix/key/v2/server", "/_matrix/federation/v1/send/167-1.a_b~c", "/_matrix/client/versions"]
)
def test_a_uri_that_can_only_be_written_one_way_is_not_sent_twice(view: View, uri: str) -> None:
    seen = view(uri)
    assert "x-murmuration-uri" not in seen["headers"]
    assert seen["uri"] == uri


@pytest.mark.parametrize("uri", ["/_matrix/key/v2/server", "/_matrix/key/v2/server/ed25519%3Aa"])
def test_a_client_can_not_say_what_the_uri_was(view: View, uri: str) -> None:
    seen = view(uri, **{"x-murmuration-uri": "/elsewhere"})
    assert seen["headers"].get("x-murmuration-uri", {"value": uri}) == {"value": uri}


PATHS = ("/", "/a", "/a/", "/a.b/c~d", "/.a", "/a/..", "//a", "/a%41", "/a:b", "/a/é", "/_m/-/~")


def test_the_local_gateway_sends_the_uri_in_the_same_cases(view: View) -> None:
    for path in PATHS:
        for query in ("", "a=1"):
            request = HttpRequest("GET", path, query, [], "192.0.2.1", "HTTP/1.1")
            seen = view(f"{path}?{query}" if query else path)
            assert ("x-murmuration-uri" in seen["headers"]) is needs_uri_header(request), (path, query)


def test_preflights_are_answered_as_the_functions_would(view: View) -> None:
    answer = view("/_matrix/client/v3/sync", "OPTIONS")
    assert answer["statusCode"] == 204
    headers = {name: found["value"] for name, found in answer["headers"].items()}
    for name, value in CORS_HEADERS.items():
        assert headers[name.lower()] == value


def test_sockets_go_to_the_one_path_that_their_api_has(view: View) -> None:
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
def test_nobody_comes_to_the_queues_path_from_outside(view: View, uri: str, method: str) -> None:
    answer = view(f"{uri}?wait=1&keep=a&call=b&keys=ImEiOjE", method)
    assert answer["statusCode"] == 404
    assert json.loads(answer["body"]) == GATEWAY_ANSWERS["MISSING_AUTHENTICATION_TOKEN"][1]
    assert answer["headers"]["access-control-allow-origin"] == {"value": "*"}


@pytest.mark.parametrize("uri", NOT_INTERNAL)
def test_other_paths_only_look_like_the_queues(view: View, uri: str) -> None:
    assert view(uri)["uri"] == uri


@pytest.mark.parametrize("waits", ["edge", "rest"])
@pytest.mark.parametrize("api", APIS)
def test_the_viewer_function_is_small_enough(
    api: Literal["http", "rest"], waits: Literal["edge", "rest"]
) -> None:
    """A CloudFront function may have 10 KB. Comments aren't deployed."""
    for code in (code_for(api, waits), without_comments(VIEWER_RESPONSE.read_text())):
        assert len(code.encode()) < 9_000
        assert not any(line.lstrip().startswith("//") for line in code.splitlines())


@pytest.mark.parametrize(
    ("uri", "seen"),
    [
        (
            "/_matrix/client/v3/directory/room/%23a%2Fb%3Ac",
            "/_matrix/client/v3/directory/room/%2523a%252Fb%253Ac",
        ),
        (
            "/_matrix/client/v3/rooms/!a:b/state/m.room.name/",
            "/_matrix/client/v3/rooms/!a:b/state/m.room.name",
        ),
        ("/_matrix/client/v3/sync?since=a%25b", "/_matrix/client/v3/sync"),
        ("/", "/"),
        ("/answers/a%2Fb?X-Amz-Signature=1", "/answers/a%2Fb"),
    ],
)
def test_an_http_api_decodes_what_it_is_given_to_what_was_sent(http_view: View, uri: str, seen: str) -> None:
    found = http_view(uri)
    assert found["uri"] == seen
    if "?" in uri or "%" in uri or uri.endswith("/"):
        assert found["headers"]["x-murmuration-uri"] == {"value": uri}
    assert "origin" not in found


def test_an_http_api_takes_no_body_for_text(http_view: View, view: View) -> None:
    """An HTTP API decides by the content type, and would corrupt text that isn't UTF-8."""
    upload = "/_matrix/media/v3/upload"
    found = http_view(
        upload, "POST", **{"content-type": "text/plain", "x-murmuration-content-type": "forged"}
    )
    assert found["headers"]["content-type"] == {"value": "application/octet-stream"}
    assert found["headers"]["x-murmuration-content-type"] == {"value": "text/plain"}
    without = http_view(upload, "POST", **{"x-murmuration-content-type": "forged"})
    assert without["headers"] == {"content-type": {"value": "application/octet-stream"}}
    assert "content-type" not in http_view(upload)["headers"]
    before = view(upload, "POST", **{"content-type": "text/plain", "x-murmuration-content-type": "forged"})
    assert before["headers"] == {"content-type": {"value": "text/plain"}}


def test_what_an_http_api_would_refuse_is_refused_in_matrix_words(http_view: View, view: View) -> None:
    path = "/_matrix/client/v3/sync"
    for uri, headers, kind, status in (
        (f"{path}?since={'x' * 5_000}", {}, "DEFAULT_4XX", 431),
        (path, {"authorization": "x" * 9_800}, "DEFAULT_4XX", 431),
        (path, {"content-length": "4600001"}, "REQUEST_TOO_LARGE", 413),
    ):
        answer = http_view(uri, "PUT", **headers)
        assert answer["statusCode"] == status
        assert json.loads(answer["body"]) == GATEWAY_ANSWERS[kind][1]
        assert answer["headers"]["access-control-allow-origin"] == {"value": "*"}
        assert view(uri, "PUT", **headers)["uri"] == path, "a REST API has Matrix's words itself"
    assert http_view(path, "PUT", **{"content-length": "4194304"})["uri"] == path


def test_a_large_upload_goes_to_the_api_that_has_the_bucket(http_view: View, view: View) -> None:
    """The request stays unchanged: a REST API takes body and path as they are."""
    sent = {"content-length": "9000000", "content-type": "text/plain", "x-murmuration-size": "1"}
    for method, uri, path in (
        ("POST", "/_matrix/media/v3/upload?filename=%25", "/uploads"),
        ("PUT", "/_matrix/media/v3/upload/example.org/a%2Fb", "/uploads/example.org/a%2Fb"),
    ):
        found = http_view(uri, method, **sent)
        assert found.pop("origin") == PARKING
        assert found == view(uri, method, **sent)
        assert found["uri"] == path
        headers = {name: entry["value"] for name, entry in found["headers"].items()}
        assert headers == {
            "content-length": "9000000",
            "content-type": "text/plain",
            "x-murmuration-size": "9000000",
            "x-murmuration-uri": uri,
        }
    small = http_view("/_matrix/media/v3/upload", "POST", **(sent | {"content-length": "4194304"}))
    assert (small["uri"], small.get("origin")) == ("/_matrix/media/v3/upload", None)


def test_who_may_wait_goes_to_the_api_that_has_the_queues(http_view: View, view: View) -> None:
    uri = marked_sync(int(time.time() * 1000))
    for found, origin in ((http_view(uri), PARKING), (view(uri), None)):
        assert found["uri"].startswith(PATH.partition("{")[0])
        assert found.get("origin") == origin


def test_who_may_wait_at_the_edge_goes_to_the_queue_itself(edge_view: View) -> None:
    """SQS gets nothing from the client's request. It would take the access token for a signature."""
    now = int(time.time() * 1000)
    sent = {
        "cookie": "a=b",
        "accept-encoding": "gzip",
        "host": "example.org",
        "x-amz-target": "x",
        "via": "1",
    }
    found = edge_view(marked_sync(now, at_edge=True), **sent)
    assert found["uri"] == f"/murmuration-prod-{edge_waits.QUEUE_PREFIX}{'ab' * 16}"
    query = {name: entry["value"] for name, entry in found["querystring"].items()}
    assert query == edge_waits.query("20")
    headers = {name: entry["value"] for name, entry in found["headers"].items()}
    assert headers.pop("host") == "example.org", "it can't be changed"
    assert headers.pop("via") == "1"
    assert headers == {
        "x-murmuration-wait": "20",
        "x-murmuration-keep": marked_sync(now, at_edge=True).partition("=")[2].rpartition(".")[0],
        "x-murmuration-call": f"c_AAAAAAAAAAAA.p3.{'ab' * 16}",
    }
    assert found["cookies"] == {}
    assert found["origin"] == {
        "originIds": [{"originId": QUEUES}, {"originId": PARKING}],
        "selectionCriteria": "default",
        "failoverCriteria": {"statusCodes": list(edge_waits.FAILOVER_STATUSES)},
    }


def test_a_mark_of_the_other_way_of_waiting_is_for_the_function(edge_view: View, view: View) -> None:
    now = int(time.time() * 1000)
    for found in (edge_view(marked_sync(now)), view(marked_sync(now, at_edge=True))):
        assert found["uri"] == "/_matrix/client/v3/sync"
        assert "origin" not in found


def test_nobody_else_comes_to_the_queues(edge_view: View) -> None:
    found = edge_view("/murmuration-prod-wake-3-0123?Action=PurgeQueue")
    assert "origin" not in found, "it goes to an API, which has no such path"
