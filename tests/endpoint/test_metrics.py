"""The metrics that functions write into their logs for CloudWatch."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import pytest

from murmuration.aws import concurrency
from murmuration.aws.calls import counting_retries, note_retry
from murmuration.clock import now_ms
from murmuration.endpoint import Auth, endpoint
from murmuration.endpoint.workers import queue_worker, stream_worker
from murmuration.protocol.errors import Forbidden
from murmuration.settings import settings
from murmuration.storage.live import streams

pytestmark = pytest.mark.usefixtures("deployment")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[], list[Any]]:
    """Return the lines of metrics that were written."""
    monkeypatch.setenv("MURMURATION_METRICS", "on")
    settings.cache_clear()

    def read() -> list[Any]:
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
        return [line for line in lines if "_aws" in line]

    return read


@pytest.fixture(autouse=True)
def _forget_settings() -> Any:
    yield
    settings.cache_clear()


def ask(resource: str, answer: Callable[[], Any], method: str = "GET") -> None:
    @endpoint(method, resource, auth=Auth.NONE)
    def handler(_request: Any) -> Any:
        return answer()

    handler({"httpMethod": method, "path": resource, "resource": resource, "headers": {}})


def forbid() -> None:
    raise Forbidden("No")


def fail() -> None:
    raise ZeroDivisionError


def test_a_request_is_counted(written: Callable[[], list[Any]]) -> None:
    ask("/things", dict)
    (line,) = written()
    assert (line["Requests"], line["ClientErrors"], line["ServerErrors"]) == ([1.0], [0.0], [0.0])
    assert line["Latency"][0] >= 0
    assert "SendLatency" not in line
    assert (line["route"], line["status"]) == ("GET /things", 200)
    (declared,) = line["_aws"]["CloudWatchMetrics"]
    assert (declared["Namespace"], declared["Dimensions"]) == ("Murmuration", [["service"]])
    assert line["service"] == settings().prefix


def test_errors_are_counted_with_their_code(written: Callable[[], list[Any]]) -> None:
    ask("/things", forbid)
    ask("/things", fail)
    refused, failed = written()
    assert (refused["ClientErrors"], refused["errcode"], refused["status"]) == ([1.0], "M_FORBIDDEN", 403)
    assert (failed["ServerErrors"], failed["errcode"], failed["status"]) == ([1.0], "M_UNKNOWN", 500)


def test_the_latency_of_a_send_is_a_metric_of_its_own(written: Callable[[], list[Any]]) -> None:
    ask("/rooms/{roomId}/send/{eventType}/{txnId}", dict, "PUT")
    (line,) = written()
    assert line["SendLatency"] == line["Latency"]


def test_a_worker_tells_how_long_the_oldest_record_waited(written: Callable[[], list[Any]]) -> None:
    @queue_worker("things")
    def from_queue(_message: dict[str, Any]) -> None:
        pass

    @stream_worker("rooms")
    def from_stream(_items: Any) -> None:
        pass

    sent = [{"SentTimestamp": str(now_ms() - age)} for age in (5_000, 60_000, 1_000)]
    from_queue(
        {"Records": [{"messageId": "1", "body": "{}", "attributes": attributes} for attributes in sent]}
    )
    from_stream({"Records": [{"dynamodb": {"ApproximateCreationDateTime": now_ms() / 1000 - 7, "Keys": {}}}]})
    queue, stream = written()
    assert (queue["worker"], queue["Records"]) == ("things", [3.0])
    assert 60_000 <= queue["WorkerLag"][0] < 120_000
    assert (stream["worker"], stream["Records"]) == ("rooms", [1.0])
    assert 7_000 <= stream["WorkerLag"][0] < 67_000


def lose_races(times: int) -> None:
    """Let something lose a race this many times before it succeeds."""
    for _ in range(times):
        note_retry()


def test_retries_are_counted_in_threads_too(written: Callable[[], list[Any]]) -> None:
    def answer() -> dict[str, Any]:
        concurrency.parallel(functools.partial(lose_races, 2), functools.partial(lose_races, 1))
        return {}

    ask("/things", answer)
    ask("/things", dict)
    first, second = written()
    assert (first["Retries"], second["Retries"]) == ([3.0], [0.0])


def test_a_workers_retries_are_told_where_there_are_any(written: Callable[[], list[Any]]) -> None:
    @queue_worker("things")
    def handler(message: dict[str, Any]) -> None:
        lose_races(message["times"])

    for times in (0, 2):
        body = json.dumps({"times": times})
        handler({"Records": [{"messageId": "1", "body": body, "attributes": {}}]})
    lines = [(line["worker"], line["Retries"]) for line in written() if "Retries" in line]
    assert lines == [("things", [2.0])]


def test_a_lost_race_counts_as_a_retry() -> None:
    with counting_retries() as retries:
        streams.pause(0)
    note_retry()
    assert retries.count == 1


def test_nothing_is_written_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    settings.cache_clear()
    ask("/things", dict)
    assert "_aws" not in capsys.readouterr().out
