"""A short run of the fuzzer, and tests that it finds the faults that it looks for."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import nullcontext
from typing import Any

import pytest

from local_cloud.database.dynoxide import DynoxideError, find_binary
from murmuration.endpoint import discover
from murmuration.identity import patience
from murmuration.transport import exchanges
from murmuration.transport.addresses import Reach
from murmuration.transport.connections import Peer
from murmuration.transport.deadlines import Deadline
from murmuration.transport.errors import NotConnected
from tests.fuzz.run import Fuzzer, is_meant
from tests.fuzz.target import Answer, Attempts, Sent

REGISTERED = b'{"access_token": "token", "device_id": "DEVICE"}'


def untold(_line: str) -> None:
    """Ignore a message."""


class Pretended:
    """A server that answers each request with `status`, but registers users."""

    def __init__(self, status: int, body: bytes = b"{}", traces: tuple[str, ...] = ()) -> None:
        self.functions = discover()
        self.sent: list[Sent] = []
        self._answer = (status, body, traces)

    def send(self, sent: Sent) -> Answer:
        self.sent.append(sent)
        if sent.target.endswith(("/register", "/whoami")):
            return Answer(200, {}, REGISTERED, 0)
        status, body, traces = self._answer
        return Answer(status, {}, body, 0, list(traces))

    def socket(self, *_: Any) -> Answer:
        return Answer(200, {}, b"", 0)


def test_no_request_of_a_short_run_is_a_server_error() -> None:
    try:
        find_binary()
    except DynoxideError as error:
        pytest.skip(str(error))
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--requests", "150"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "150 requests" in run.stdout
    assert "0 server errors" in run.stdout


def test_a_server_error_is_told_with_the_request_that_repeats_it() -> None:
    told: list[str] = []
    report = Fuzzer(Pretended(500), 1, told.append).run(40)
    assert len(report.findings) >= 38
    assert any("curl" in line and "http://localhost:8008/" in line for line in told)


def test_what_a_worker_logs_is_told_too() -> None:
    trace = 'record failed\n  File "/x/murmuration/a.py", line 7, in run\nKeyError: 1'
    report = Fuzzer(Pretended(404, traces=(trace,)), 1, untold).run(10)
    assert {finding.place for finding in report.findings} == {"murmuration/a.py:7:run KeyError: 1"}


def answer(status: int, errcode: str, *, asked: str = "", before: str = "", error: str = "") -> Answer:
    body = json.dumps({"errcode": errcode, "error": error} if errcode else {}).encode()
    ever = frozenset(name for name in (asked, before) if name)
    return Answer(status, {}, body, 0, asked=frozenset((asked,) if asked else ()), asked_ever=ever)


DOWNLOAD = Sent("GET", "/_matrix/client/v1/media/download/other.invalid/abc")
JOIN = Sent("POST", "/_matrix/client/v3/join/%21a%3Aother.invalid", body=b"{}")


@pytest.mark.parametrize(
    ("found", "sent", "meant"),
    [
        (answer(504, "M_NOT_YET_UPLOADED"), DOWNLOAD, True),
        (answer(502, "M_TOO_LARGE"), DOWNLOAD, True),
        (answer(504, "M_NOT_YET_UPLOADED"), JOIN, False),
        (answer(502, "M_UNKNOWN"), DOWNLOAD, False),
        (answer(502, "M_UNKNOWN", asked="other.invalid"), DOWNLOAD, True),
        (answer(502, "", asked="other.invalid"), DOWNLOAD, False),
        (answer(500, "M_UNKNOWN", asked="other.invalid"), DOWNLOAD, False),
        (answer(503, "M_UNKNOWN", asked="other.invalid"), DOWNLOAD, False),
        (answer(504, "M_UNKNOWN", before="other.invalid"), JOIN, True),
        (answer(504, "M_UNKNOWN", before="third.invalid"), JOIN, False),
        (answer(504, "M_UNKNOWN", before="third.invalid", error="third.invalid is down"), JOIN, True),
    ],
)
def test_a_server_error_is_meant_only_if_another_server_was_asked(
    found: Answer, sent: Sent, meant: bool
) -> None:
    assert is_meant(found, sent) is meant


def test_connections_are_noted_by_host_and_by_who_tries() -> None:
    attempts = Attempts()
    peer = Peer("nowhere.invalid", 443, "nowhere.invalid", Reach())
    with attempts.noted():
        for working in (nullcontext(), patience.working(lambda: "somebody")):
            with working, pytest.raises(NotConnected):
                exchanges.send(peer, "GET", "/", {}, None, Deadline(5))
    assert (attempts.ever, attempts.by_requests) == ({"nowhere.invalid"}, ["nowhere.invalid"])


@pytest.mark.parametrize("status", [500, 503])
def test_other_server_errors_are_told_whatever_they_say(status: int) -> None:
    assert Fuzzer(Pretended(status, b'{"errcode": "M_UNKNOWN"}'), 1, untold).run(10).findings


def test_the_same_seed_makes_the_same_requests() -> None:
    runs = []
    for seed in (1, 1, 2):
        pretended = Pretended(404)
        Fuzzer(pretended, seed, untold).run(60)
        runs.append(pretended.sent)
    assert runs[0] == runs[1] != runs[2]


def test_requests_go_to_most_routes_and_are_of_many_kinds() -> None:
    pretended = Pretended(404)
    fuzzer = Fuzzer(pretended, 1, untold)
    fuzzer.run(1500)
    assert {sent.method for sent in pretended.sent} >= {"GET", "PUT", "POST", "DELETE", "HEAD", "PATCH"}
    assert any(b"\\ud8" in sent.body for sent in pretended.sent)
    assert any(b"NaN" in sent.body for sent in pretended.sent)
    assert any(b"[" * 1000 in sent.body for sent in pretended.sent)
    assert any("%00" in sent.target for sent in pretended.sent)
    assert any(not sent.body for sent in pretended.sent if sent.method == "PUT")
