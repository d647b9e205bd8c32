from __future__ import annotations

import base64
import json
import socket
import threading
import time

import pytest

from infra_shared.gateway_answers import MAX_REQUEST_BYTES
from murmuration.endpoint import Http
from tests.local_cloud.routed import answer, routed
from tests.local_cloud.waiting import PATIENCE_S


@routed(Http("ANY", "/echo/{name}"))
def echo(event, context):
    return answer(event)


@pytest.fixture
def event_of(serve):
    """Return the event that a request is converted to."""
    gateway = serve(echo)

    def send(uri, method="GET", body=None, headers=None):
        return gateway.request(method, uri, body, headers).json

    return send


def test_the_path_keeps_its_encoding_and_the_query_is_parsed(event_of):
    event = event_of("/echo/a%2Fb%25%20c?x=1&y=%2B+z&x=%C3%A9&q&=v")
    assert event["path"] == "/echo/a%2Fb%25%20c"
    assert event["resource"] == "/echo/{name}"
    assert event["pathParameters"] == {"name": "a%2Fb%25%20c"}
    assert event["queryStringParameters"] == {"x": "é", "y": "+ z", "q": "", "": "v"}
    assert event["multiValueQueryStringParameters"]["x"] == ["1", "é"]
    assert event["requestContext"]["path"] == "/local/echo/a%2Fb%25%20c"
    assert event["requestContext"]["resourcePath"] == "/echo/{name}"


def test_what_is_absent_is_null(event_of):
    event = event_of("/echo/a")
    assert event["queryStringParameters"] is None
    assert event["multiValueQueryStringParameters"] is None
    assert event["body"] is None
    assert event["isBase64Encoded"] is False
    assert event["stageVariables"] is None


def test_the_event_has_every_field_of_a_rest_proxy_event(event_of):
    event = event_of("/echo/a", headers={"User-Agent": "tester"})
    assert set(event) == {
        "resource", "path", "httpMethod", "headers", "multiValueHeaders", "queryStringParameters",
        "multiValueQueryStringParameters", "pathParameters", "stageVariables", "requestContext", "body",
        "isBase64Encoded",
    }  # fmt: skip
    context = event["requestContext"]
    assert set(context) >= {
        "accountId", "apiId", "domainName", "domainPrefix", "extendedRequestId", "httpMethod", "identity",
        "path", "protocol", "requestId", "requestTime", "requestTimeEpoch", "resourceId", "resourcePath",
        "stage",
    }  # fmt: skip
    assert context["identity"]["userAgent"] == "tester"
    assert abs(context["requestTimeEpoch"] / 1000 - time.time()) < 60


def test_bodies_arrive_as_base64(event_of):
    event = event_of("/echo/a", "PUT", b"\x00\xff{}")
    assert base64.b64decode(event["body"]) == b"\x00\xff{}"
    assert event["isBase64Encoded"] is True


def test_the_viewer_function_alone_says_what_the_uri_was(event_of):
    event = event_of(
        "/echo/%41?b=2&a=1&b=3",
        headers={"X-Murmuration-Uri": "/forged", "X-Murmuration-Viewer-Secret": "guess"},
    )
    headers = {name.lower(): value for name, value in event["headers"].items()}
    assert headers["x-murmuration-uri"] == "/echo/%41?b=2&a=1&b=3"
    assert headers["x-murmuration-viewer-secret"] == "viewer-secret"
    assert [name.lower() for name in event["headers"]].count("x-murmuration-uri") == 1


def test_the_source_is_the_edge_and_the_client_is_last_but_one_in_x_forwarded_for(event_of):
    event = event_of("/echo/a", headers={"X-Forwarded-For": "6.6.6.6"})
    edge = event["requestContext"]["identity"]["sourceIp"]
    assert event["headers"]["X-Forwarded-For"] == f"6.6.6.6, 127.0.0.1, {edge}"


def test_repeated_headers_are_in_multi_value_headers(serve):
    gateway = serve(echo)
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(
            b"GET /echo/a HTTP/1.1\r\nHost: x\r\nX-Two: 1\r\nX-Two: 2\r\nConnection: close\r\n\r\n"
        )
        reply = b"".join(iter(lambda: client.recv(65536), b""))
    event = json.loads(reply.partition(b"\r\n\r\n")[2])
    assert event["multiValueHeaders"]["X-Two"] == ["1", "2"]
    assert event["headers"]["X-Two"] == "2"


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (None, "nothing"),
        ("text", "a string"),
        ({"body": "{}"}, "no status"),
        ({"statusCode": "abc"}, "a bad status"),
        ({"statusCode": 200, "body": {"a": 1}}, "an object for a body"),
        ({"statusCode": 200, "cookies": []}, "an unknown field"),
        ({"statusCode": 200, "body": "?", "isBase64Encoded": True}, "broken base64"),
        ({"statusCode": 200, "headers": {"x": ["y"]}}, "a list for a header"),
        ({"statusCode": 200, "headers": {"x": "y\r\nz: 1"}}, "a line break in a header"),
    ],
)
def test_a_malformed_answer_is_a_502(serve, reply, problem):
    @routed(Http("GET", "/bad"))
    def bad(event, context):
        return reply

    got = serve(bad).request("GET", "/bad")
    assert (got.status, got.json["errcode"]) == (502, "M_UNKNOWN"), problem


def test_an_exception_is_a_502_and_logged(serve, caplog):
    @routed(Http("GET", "/bad"))
    def bad(event, context):
        raise ValueError("the reason")

    assert serve(bad).request("GET", "/bad").status == 502
    assert "the reason" in caplog.text


def test_headers_body_and_status_of_an_answer(serve):
    @routed(Http("GET", "/ok"))
    def ok(event, context):
        return {
            "statusCode": 201,
            "headers": {
                "X-One": "1",
                "Set-Cookie": "ignored",
                "WWW-Authenticate": "Basic",
                "Content-Length": "9",
            },
            "multiValueHeaders": {"set-cookie": ["a", "b"]},
            "body": base64.b64encode(b"\x00\x01").decode(),
            "isBase64Encoded": True,
        }

    got = serve(ok).request("GET", "/ok")
    assert (got.status, got.body) == (201, b"\x00\x01")
    assert got.headers["x-one"] == "1"
    assert got.headers["set-cookie"] == "b"  # the last of two, as this client tells them
    assert got.headers["x-amzn-remapped-www-authenticate"] == "Basic"
    assert got.headers["content-length"] == "2"
    assert "www-authenticate" not in got.headers


def test_without_a_route_the_gateway_answers_itself(serve):
    got = serve(echo).request("GET", "/nowhere")
    assert (got.status, got.json["errcode"]) == (404, "M_UNRECOGNIZED")
    assert got.headers["access-control-allow-origin"] == "*"


def test_the_fallback_takes_unknown_paths_and_methods(serve):
    """But a path's function of GET takes the methods that the path lacks."""

    @routed(Http("ANY", "/{proxy+}"))
    def fallback(event, context):
        return answer(event["resource"], 404)

    @routed(Http("GET", "/a/b"))
    def known(event, context):
        return answer("known")

    @routed(Http("PUT", "/a/d"))
    def put(event, context):
        return answer("put")

    gateway = serve(fallback, known, put)
    assert gateway.request("GET", "/a/b").json == "known"
    assert gateway.request("POST", "/a/b").json == "known"
    assert gateway.request("POST", "/a/d").json == "/a/d"
    assert gateway.request("GET", "/a/c").json == "/{proxy+}"


def test_limits_of_headers_and_bodies(serve):
    gateway = serve(echo, gateway_body_bytes=5_000_000, lambda_payload_bytes=5_900_000)
    assert gateway.request("GET", "/echo/a", headers={"X": "y" * 11_000}).status == 431
    assert gateway.request("GET", "/echo/" + "a" * 5_200).status == 200, "a plain URI counts once"
    assert gateway.request("GET", "/echo/%41" + "a" * 5_200).status == 431, "another counts twice"
    refusal = gateway.request("POST", "/echo/a", b"x" * 5_000_001)
    assert refusal.status == 413
    assert str(MAX_REQUEST_BYTES) in json.loads(refusal.body)["error"]
    assert gateway.request("POST", "/echo/a", b"x" * 4_500_000).status == 413, "over the limit as base64"
    assert gateway.request("POST", "/echo/a", b"x" * 100_000).status == 200


def test_a_chunked_body_has_the_same_limit(serve):
    gateway = serve(echo, gateway_body_bytes=100_000)
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(b"POST /echo/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"fff0\r\n" + b"x" * 0xFFF0 + b"\r\n"
        client.sendall(chunk * 2 + b"0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 413")


def test_an_answer_over_lambdas_limit_is_a_502(serve):
    @routed(Http("GET", "/{size}"))
    def large(event, context):
        return answer("x" * int(event["pathParameters"]["size"]))

    gateway = serve(large, lambda_payload_bytes=1_000_000)
    assert gateway.request("GET", "/900000").status == 200
    assert gateway.request("GET", "/1000000").status == 502


def test_a_function_that_takes_too_long_is_a_504(serve):
    finish = threading.Event()

    @routed(Http("GET", "/slow"))
    def slow(event, context):
        finish.wait(PATIENCE_S)
        return answer(context.get_remaining_time_in_millis())

    gateway = serve(slow, integration_timeout=0.05)
    got = gateway.request("GET", "/slow")
    finish.set()
    assert (got.status, got.json) == (504, {"errcode": "M_UNKNOWN", "error": "The server took too long"})


def test_functions_run_side_by_side_and_know_who_they_are(serve):
    from local_cloud.lambdas import current_function

    together = threading.Barrier(20)

    @routed(Http("GET", "/who"))
    def who(event, context):
        together.wait(PATIENCE_S)
        return answer([current_function.get(), context.function_name, context.invoked_function_arn])

    gateway = serve(who)
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(gateway.request("GET", "/who").json))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    arn = "arn:aws:lambda:us-east-1:000000000000:function:test-who"
    assert answers == [["test-who", "test-who", arn]] * 20


def test_more_than_the_concurrency_waits_its_turn(serve):
    @routed(Http("GET", "/turn"))
    def turn(event, context):
        return answer("done")

    gateway = serve(turn, concurrency=2)
    statuses = []
    threads = [
        threading.Thread(target=lambda: statuses.append(gateway.request("GET", "/turn").status))
        for _ in range(30)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 30
