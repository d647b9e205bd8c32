"""A short run of the fuzzer, and that it notices what it looks for."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from local_cloud.database.dynoxide import DynoxideError, find_binary
from murmuration.endpoint import discover
from tests.fuzz.run import Fuzzer
from tests.fuzz.target import Answer, Sent

REGISTERED = b'{"access_token": "token", "device_id": "DEVICE"}'


def untold(_line: str) -> None:
    """Say nothing."""


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


@pytest.mark.parametrize("status", [502, 504])
def test_what_another_server_or_an_upload_is_waited_for_is_no_server_error(status: int) -> None:
    assert not Fuzzer(Pretended(status, b'{"errcode": "M_UNKNOWN"}'), 1, untold).run(10).findings
    assert Fuzzer(Pretended(status), 1, untold).run(10).findings


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
