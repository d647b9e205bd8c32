"""How a handler's answer is converted for API Gateway."""

from __future__ import annotations

import dataclasses
import gzip
import json
from base64 import b64decode
from typing import Any

import pytest

from local_cloud.config import Limits
from local_cloud.gateway.http import response_of
from murmuration.endpoint import Auth, endpoint
from murmuration.endpoint.http import LARGE_CHARACTERS, error_response, proxy_response
from murmuration.endpoint.request import Request
from murmuration.endpoint.sockets import SocketRequest
from murmuration.protocol.errors import InvalidParam, NotFound
from murmuration.settings import settings

pytestmark = pytest.mark.usefixtures("deployment")

LIMIT = Limits().lambda_payload_bytes
EVENTS = {"events": [{"body": 'a "quoted" word, ünïcode 🦜', "number": number} for number in range(130_000)]}


def answer(body: Any, accepted: str | None) -> Any:
    @endpoint("GET", "/large", auth=Auth.NONE)
    def handler(_request: Any) -> Any:
        return body

    headers = {} if accepted is None else {"Accept-Encoding": accepted}
    return handler({"httpMethod": "GET", "path": "/large", "headers": headers})


@pytest.mark.parametrize("accepted", ["gzip", "gzip, deflate, br", "br;q=1.0, GZIP ; q=0.5"])
def test_an_answer_over_6_mb_is_compressed_to_fit(accepted: str) -> None:
    status, headers, body = response_of(answer(EVENTS, accepted), LIMIT)
    assert len(json.dumps(EVENTS)) > LIMIT
    assert status == 200
    assert (b"content-encoding", b"gzip") in [(name.lower(), value) for name, value in headers]
    assert json.loads(gzip.decompress(body)) == EVENTS


@pytest.mark.parametrize("accepted", [None, "", "br", "identity", "gzip;q=0", "gzip; q=0.000"])
def test_who_does_not_take_gzip_gets_none(accepted: str | None) -> None:
    events = {"events": EVENTS["events"][:55_000]}
    status, headers, body = response_of(answer(events, accepted), LIMIT)
    assert status == 200
    assert "content-encoding" not in {name.decode().lower() for name, _ in headers}
    assert json.loads(body) == events


def test_many_quotes_make_an_answer_too_long_for_a_string_but_not_for_base64() -> None:
    given = answer('"' * 2_100_000, None)
    assert given["isBase64Encoded"]
    _, _, body = response_of(given, LIMIT)
    assert json.loads(body) == '"' * 2_100_000


def behind(api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let functions be behind one kind of API."""
    found = dataclasses.replace(settings(), api=api)  # type: ignore[arg-type]
    monkeypatch.setattr("murmuration.endpoint.http.settings", lambda: found)


@pytest.mark.parametrize(("api", "size"), [("rest", 20_000), ("rest", 10), ("http", 10)])
def test_a_smaller_answer_is_not_compressed(api: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A REST API compresses it by itself, and compressing a small answer gains nothing."""
    behind(api, monkeypatch)
    given = answer({"events": "e" * size}, "gzip")
    assert given["body"] == f'{{"events":"{"e" * size}"}}'
    assert not given["isBase64Encoded"]
    assert "Content-Encoding" not in given["headers"]


@pytest.mark.parametrize("accepted", ["gzip", "", None])
def test_behind_an_http_api_functions_compress(accepted: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    behind("http", monkeypatch)
    given = answer({"events": "é" * 20_000}, accepted)
    _, _, body = response_of(given, LIMIT)
    assert (given["headers"].get("Content-Encoding") == "gzip") is bool(accepted)
    assert given["headers"].get("Vary") == ("Accept-Encoding" if accepted else None)
    assert json.loads(gzip.decompress(body) if accepted else body) == {"events": "é" * 20_000}


def test_what_is_not_compressed_fits_whatever_it_is_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    behind("rest", monkeypatch)
    for character in ('"', "\\", "🦜", "語"):
        given = answer(character * ((LARGE_CHARACTERS - 2) // (2 if character in '"\\' else 1)), "gzip")
        assert not given["isBase64Encoded"]
        assert len(json.dumps(given, ensure_ascii=False).encode()) < LIMIT


def test_media_are_not_compressed() -> None:
    given = answer(b"a" * 2_000_000, "gzip")
    assert "Content-Encoding" not in given["headers"]
    assert len(b64decode(given["body"])) == 2_000_000


@pytest.mark.parametrize("name", ["after", "at", "before", "filter", "from", "server", "since", "to"])
def test_a_parameter_left_empty_is_none(name: str) -> None:
    event = {"queryStringParameters": {name: "", "dir": "", "limit": "0"}}
    assert Request(event).query == SocketRequest(event).query == {"dir": "", "limit": "0"}
    event = {"queryStringParameters": {name: "something"}}
    assert Request(event).query == SocketRequest(event).query == {name: "something"}


@pytest.mark.parametrize(("text", "number"), [("7", 7), (str(2**53 - 1), 2**53 - 1), ("9" * 400, 2**53 - 1)])
def test_whole_numbers_in_a_query_are_cut_to_those_of_matrix_json(text: str, number: int) -> None:
    assert Request({"queryStringParameters": {"n": text}}).query_int("n", 0) == number


@pytest.mark.parametrize("text", ["", "x", "1.5", "1e3", "0x10", "1_000", "\u0661", "9" * 5000])
def test_what_is_no_whole_number_in_a_query_is_refused(text: str) -> None:
    with pytest.raises(InvalidParam):
        Request({"queryStringParameters": {"n": text}}).query_int("n", 0)


def test_an_error_repeats_no_more_than_a_little_of_a_request() -> None:
    """A large error would be stored, and the client redirected to it with a status that is no error's."""
    response = proxy_response(error_response(NotFound("x" * 3_000_000)))
    assert response["statusCode"] == 404
    assert len(response["body"]) < 2_000
