"""A server that limits rates says so, and for how long."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local_cloud.testing import LocalCloud, local_cloud
from tests import openapi
from tests.e2e.conftest import ENVIRONMENT
from tests.e2e.raw import V3, Answer, Raw, register, segment

MANY = 40


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    folder = tmp_path_factory.mktemp("limited")
    with local_cloud(folder, environment=ENVIRONMENT, rate_limits="on") as cloud:
        yield cloud


@pytest.fixture(scope="module")
def alice(limited: LocalCloud) -> Raw:
    return register(limited, "alice")


def until_limited(user: Raw, method: str, uris: Iterator[str], body: bytes) -> tuple[int, Answer]:
    """Return the number of requests that were answered before one was refused for being too many, and the
    refusal.
    """
    for number in range(MANY):
        uri = next(uris)
        answer = user.request(method, uri, body)
        openapi.check(openapi.Exchange(method, uri, body, answer.status, answer.headers, answer.body))
        if answer.status == 429:
            return number, answer
        assert answer.status in (200, 403), answer
    raise AssertionError(f"none of {MANY} requests was refused")


def check_refusal(answer: Answer) -> None:
    assert answer.json["errcode"] == "M_LIMIT_EXCEEDED"
    assert 0 < answer.json["retry_after_ms"] < 600_000
    assert int(answer.headers["retry-after"]) == -(-answer.json["retry_after_ms"] // 1000)
    assert "Retry-After" in answer.headers["access-control-expose-headers"]


def test_messages(alice: Raw) -> None:
    room = segment(alice.create_room())
    uris = (f"{V3}/rooms/{room}/send/m.room.message/{number}" for number in range(MANY))
    sent, refusal = until_limited(alice, "PUT", uris, b'{"msgtype":"m.text","body":"x"}')
    assert sent >= 5
    check_refusal(refusal)
    assert alice.request("GET", f"{V3}/sync").status == 200, "other requests go on"


def test_passwords_tried(limited: LocalCloud, alice: Raw) -> None:
    """A client that guesses passwords is limited, whether or not the account exists."""
    body = b'{"type":"m.login.password","identifier":{"type":"m.id.user","user":"alice"},"password":"wrong"}'
    uris = (f"{V3}/login" for _ in range(MANY))
    tried, refusal = until_limited(Raw(limited), "POST", uris, body)
    assert 1 <= tried < 10
    check_refusal(refusal)
