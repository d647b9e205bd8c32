"""What `murmuration doctor` tries from outside: ways of AWS's that an account may refuse."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from local_cloud.aws import patch
from local_cloud.aws.sqs import Sqs
from local_cloud.gateway.edge_waits import EdgeParking
from local_cloud.gateway.events import HttpRequest, Response
from local_cloud.gateway.parking import Parking, place_of
from local_cloud.lambdas import Lambdas
from murmuration.protocol.identifiers import ServerName
from murmuration.settings import settings
from murmuration.storage.live import wake_queues
from operators import probing
from operators.doctor import Answer, Finding, Standing
from operators.operating import Server

SERVER = Server("murmuration-test", ServerName("example.org"), "https://example.org")
URL = "https://example.org"
NOBODY: Response = (401, [], b'{"errcode": "M_MISSING_TOKEN", "error": "no token"}')
"""What the function of /sync answers, to which a request comes that doesn't wait."""
BY_REST = (b"x-amz-apigw-id", b"abc=")


@pytest.fixture
def sqs(deployment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sqs]:
    service = Sqs()
    services = patch.Services({"sqs": service.operations()})
    patch.install(services)
    yield service
    service.close()
    patch.uninstall(services)
    assert service._queues == {}, "the queue on which it was tried is gone"


@pytest.fixture(params=["edge", "rest"])
def waits(request: pytest.FixtureRequest, deployment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("MURMURATION_WAITS", request.param)
    settings.cache_clear()
    yield request.param
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def threads() -> Iterator[Lambdas]:
    made = Lambdas(2)
    yield made
    made.close()


def told(found: Response) -> Answer:
    status, headers, body = found
    names = {name.decode().lower(): value.decode() for name, value in headers}
    said = json.loads(body) if body.strip().startswith(b"{") else None
    return Answer(status, said, None, time.time(), names)


def waiting(at: Parking, changed: Callable[[Response], Response] = lambda found: found) -> Finding:
    """Return the findings if requests come to this place and answers come back `changed`."""
    at.QUEUES = f"{settings().prefix}-{wake_queues.prefix()}"

    def ask(url: str) -> Answer:
        path, _, query = url.removeprefix(URL).partition("?")
        now = int(time.time() * 1000)
        place = place_of(HttpRequest("GET", path, query, [], "192.0.2.1", "HTTP/2"), now, at_edge=at.AT_EDGE)
        return told(changed(NOBODY if place is None else at._answer(place, now)))

    return probing.check_waits(SERVER, URL, ask, lambda _: None)


def place(waits: str, sqs: Sqs, threads: Lambdas, secret: str = "") -> Parking:
    if waits == "edge":
        return EdgeParking(sqs, threads, lambda: secret or wake_queues.edge_secret())
    return Parking(sqs, threads)


def test_a_wait_that_ends_by_the_right_way_is_fine(waits: str, sqs: Sqs, threads: Lambdas) -> None:
    found = waiting(place(waits, sqs, threads))
    assert found.standing is Standing.OK
    assert found.sentence.endswith({"edge": "at the edge", "rest": "by a REST API"}[waits])


@pytest.mark.parametrize("waits", ["edge"], indirect=True)
def test_where_sqs_refuses_cloudfront_it_says_what_to_set(waits: str, sqs: Sqs, threads: Lambdas) -> None:
    """The REST API answers instead, and says so in a header."""
    at = place(waits, sqs, threads, secret="another")
    found = waiting(at, lambda found: (found[0], [*found[1], BY_REST], found[2]))
    assert found.standing is Standing.WARNING
    assert "SQS refuses" in found.sentence
    assert found.sentence.endswith("deploy with -c waits=rest")


@pytest.mark.parametrize("waits", ["edge"], indirect=True)
def test_where_no_length_is_told_it_says_what_to_set(
    waits: str, sqs: Sqs, threads: Lambdas, monkeypatch: pytest.MonkeyPatch
) -> None:
    from local_cloud.gateway import edge_waits as gateway

    unsigned = gateway.answer_unsigned

    def without_length(*given: object) -> object:
        status, headers, body = unsigned(*given)  # type: ignore[arg-type]
        return status, {name: value for name, value in headers.items() if name != "content-length"}, body

    monkeypatch.setattr(gateway, "answer_unsigned", without_length)
    found = waiting(place(waits, sqs, threads))
    assert found.standing is Standing.WARNING
    assert "length" in found.sentence
    assert found.sentence.endswith("deploy with -c waits=rest")


@pytest.mark.parametrize(
    "answer", [NOBODY, (502, [], b"<html>"), (503, [], b'{"message": "Service Unavailable"}')]
)
def test_what_is_no_wait_has_failed(waits: str, sqs: Sqs, threads: Lambdas, answer: Response) -> None:
    found = waiting(place(waits, sqs, threads), lambda _: answer)
    assert found.standing is Standing.FAILED
    assert found.sentence.endswith("deploy with -c waits=rest") is (waits == "edge")


def test_a_queue_that_was_just_made_may_be_refused_at_first(sqs: Sqs, threads: Lambdas) -> None:
    asked: list[Response] = []

    def at_first(found: Response) -> Response:
        asked.append(found)
        return found if len(asked) > 2 else (200, [BY_REST], found[2].replace(b'"p_', b'"c_'))

    assert waiting(place("edge", sqs, threads), at_first).standing is Standing.OK
    assert len(asked) == 3


def test_where_nobody_parks_nothing_is_tried(deployment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(url: str) -> Answer:
        raise AssertionError(f"{url} was asked for")

    local = dataclasses.replace(SERVER, folder=Path())
    assert probing.check_waits(local, URL, ask).standing is Standing.SKIPPED
    held = dataclasses.replace(settings(), waiting="held")
    monkeypatch.setattr("murmuration.settings.settings", lambda: held)
    assert probing.check_waits(SERVER, URL, ask).standing is Standing.SKIPPED


# -- Routes ------------------------------------------------------------------------------------------------


def routed(status: int, errcode: str, *headers: str) -> tuple[Finding, str]:
    asked: list[str] = []

    def ask(url: str) -> Answer:
        asked.append(url)
        return Answer(status, {"errcode": errcode} if errcode else None, None, 0, dict.fromkeys(headers, "x"))

    return probing.check_routes(SERVER, URL, ask), asked[0]


def test_a_name_with_a_slash_is_asked_for(deployment: None) -> None:
    found, url = routed(404, "M_NOT_FOUND", "apigw-requestid")
    name = url.removeprefix(f"{URL}/_matrix/client/v3/directory/room/")
    assert "/" not in name
    assert "/" in unquote(name)
    assert unquote(name).endswith(":example.org")
    assert (found.standing, found.sentence) == (
        Standing.OK, "a path arrives as it was sent, by an HTTP API",
    )  # fmt: skip
    assert routed(404, "M_NOT_FOUND", "x-amz-apigw-id")[0].sentence.endswith("by a REST API")
    assert routed(429, "M_LIMIT_EXCEEDED")[0].standing is Standing.SKIPPED


@pytest.mark.parametrize(
    ("status", "errcode"), [(404, "M_UNRECOGNIZED"), (404, ""), (503, ""), (500, "M_UNKNOWN")]
)
def test_where_it_is_not_found_as_a_whole_it_says_what_to_set(
    deployment: None, status: int, errcode: str
) -> None:
    found, _ = routed(status, errcode)
    assert found.standing is Standing.FAILED
    assert found.sentence.endswith("deploy with -c api=rest")
