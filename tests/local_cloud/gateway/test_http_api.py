"""An HTTP API's events and own answers where they differ from a REST API's."""

from __future__ import annotations

import base64
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from infra_shared.gateway_answers import GATEWAY_ANSWERS
from local_cloud.gateway.http_api import path_seen
from murmuration.endpoint import Http, Request
from tests.infra.viewer.test_viewer import code_for, viewing
from tests.local_cloud.conftest import Answer, Gateway
from tests.local_cloud.routed import answer, routed
from tests.local_cloud.waiting import PATIENCE_S

Serve = Callable[..., Gateway]
EventOf = Callable[..., Any]


@routed(Http("ANY", "/echo/{name}/{other}"))
def echo(event: Any, context: Any) -> Any:
    return answer(event)


@routed(Http("ANY", "/{proxy+}"))
def fallback(event: Any, context: Any) -> Any:
    return answer(event["resource"], 404)


@pytest.fixture
def event_of(serve: Serve) -> EventOf:
    """Return the event that a request is converted to."""
    gateway = serve(echo, fallback, api="http")

    def send(
        uri: str, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Any:
        return gateway.request(method, uri, body, headers).json

    return send


def test_the_event_has_format_1(event_of: EventOf) -> None:
    event = event_of("/echo/a/b?x=1&x=2", headers={"User-Agent": "tester"})
    assert set(event) == {
        "version", "resource", "path", "httpMethod", "headers", "multiValueHeaders", "queryStringParameters",
        "multiValueQueryStringParameters", "pathParameters", "stageVariables", "requestContext", "body",
        "isBase64Encoded",
    }  # fmt: skip
    assert event["version"] == "1.0"
    assert event["resource"] == "/echo/{name}/{other}"
    assert event["requestContext"]["stage"] == "$default"
    assert event["requestContext"]["path"] == "/echo/a/b"
    assert event["multiValueQueryStringParameters"]["x"] == ["1", "2"]
    assert all(name == name.lower() for name in event["headers"])


@pytest.mark.parametrize("sent", ["a%2Fb", "%23a%3Ab", "100%25", "%252F", "%C3%A9", "%3Fa", "%ff", "!a:b"])
def test_functions_have_parameters_as_they_were_sent(event_of: EventOf, sent: str) -> None:
    event = event_of(f"/echo/{sent}/x%2Fy?q=%2B")
    assert event["resource"] == "/echo/{name}/{other}", "an encoded slash divides nothing"
    assert event["path"] == f"/echo/{sent}/x%2Fy"
    assert event["pathParameters"]["other"] == "x/y", "decoded by the API"
    if sent != "%ff":
        assert Request(event).params == {"name": unquote(sent), "other": "x/y"}
    assert Request(event).query == {"q": "+"}


def test_a_slash_at_the_end_changes_nothing(event_of: EventOf) -> None:
    event = event_of("/echo/%41/b/")
    assert Request(event).params == {"name": "A", "other": "b"}


def test_a_header_that_fits_no_route_is_not_believed() -> None:
    event = {
        "resource": "/echo/{name}/{other}",
        "pathParameters": {"name": "a", "other": "b"},
        "headers": {"X-Murmuration-Uri": "/elsewhere/%41/c"},
    }
    assert Request(event).params == {"name": "a", "other": "b"}


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "image/png", None])
def test_a_body_arrives_as_it_was_sent(event_of: EventOf, content_type: str | None) -> None:
    """An HTTP API treats text as UTF-8, whatever it is."""
    headers = {"Content-Type": content_type} if content_type else {}
    request = Request(event_of("/echo/a/b", "PUT", b"\xe9\x00{}", headers))
    assert request.body == b"\xe9\x00{}"
    assert request.headers["content-type"] == (content_type or "application/octet-stream")


def test_what_no_route_has_goes_to_the_fallback(serve: Serve) -> None:
    """But a path's function of GET gets the methods that the path lacks."""

    @routed(Http("GET", "/a/b"))
    def known(event: Any, context: Any) -> Any:
        return answer("known")

    @routed(Http("PUT", "/a/c"))
    def put(event: Any, context: Any) -> Any:
        return answer("put")

    gateway = serve(known, put, fallback, api="http")
    assert gateway.request("GET", "/a/b/").json == "known"
    assert gateway.request("POST", "/a/b").json == "known"
    assert gateway.request("PUT", "/a/c").json == "put"
    assert gateway.request("POST", "/a/c").json == "/a/c"
    assert gateway.request("GET", "/a%2Fb").json == "/{proxy+}"


def refused(found: Answer) -> tuple[int, Any, str]:
    return found.status, found.json, found.headers["access-control-allow-origin"]


def test_the_http_api_answers_refused_requests_itself(serve: Serve) -> None:
    release = threading.Event()

    @routed(Http("GET", "/bad"))
    def bad(event: Any, context: Any) -> Any:
        raise ValueError("the reason")

    @routed(Http("GET", "/slow"))
    def slow(event: Any, context: Any) -> Any:
        release.wait(PATIENCE_S)
        return answer("late")

    gateway = serve(bad, api="http", gateway_body_bytes=1_000)
    assert refused(gateway.request("GET", "/bad")) == (500, {"message": "Internal Server Error"}, "*")
    hasty = serve(slow, api="http", integration_timeout=0.05)
    assert refused(hasty.request("GET", "/slow")) == (503, {"message": "Service Unavailable"}, "*")
    release.set()
    too_large = gateway.request("POST", "/bad", b"x" * 1_001)
    assert refused(too_large) == (413, {"message": "Request Entity Too Large"}, "*")


def test_what_is_too_large_is_refused_in_matrix_words_before_it(serve: Serve) -> None:
    gateway = serve(echo, fallback, api="http")
    long = gateway.request("GET", "/echo/a/" + "b" * 10_000)
    assert refused(long) == (431, GATEWAY_ANSWERS["DEFAULT_4XX"][1], "*")
    large = gateway.request("POST", "/echo/a/b", b"x" * 4_600_001)
    assert refused(large) == (413, GATEWAY_ANSWERS["REQUEST_TOO_LARGE"][1], "*")
    assert gateway.request("POST", "/echo/a/b", b"x" * 4_194_304).status == 200


def test_what_the_viewer_function_adds_counts(serve: Serve) -> None:
    gateway = serve(echo, fallback, api="http")
    uri = "/echo/b/" + "%41" * 900
    assert gateway.request("GET", uri).status == 200
    assert gateway.request("GET", uri + "%41" * 400).status == 431, "each % counts four times"
    assert serve(echo, fallback).request("GET", uri + "%41" * 400).status == 200


def test_headers_of_answers_keep_their_names(serve: Serve) -> None:
    @routed(Http("GET", "/ok"))
    def ok(event: Any, context: Any) -> Any:
        body = base64.b64encode(b"\x00").decode()
        return {
            "statusCode": 200,
            "headers": {"WWW-Authenticate": "x"},
            "body": body,
            "isBase64Encoded": True,
        }

    found = serve(ok, api="http").request("GET", "/ok")
    assert (found.body, found.headers["www-authenticate"]) == (b"\x00", "x")


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_viewer_function_prepares_paths_alike(tmp_path: Path) -> None:
    with viewing(code_for("http"), tmp_path) as view:
        for path in ("/a%2Fb", "/a/", "/", "/%25", "/a%252F/", "/a//", "/!a:b/%ff"):
            assert unquote(view(path)["uri"]) == path_seen(path), path
