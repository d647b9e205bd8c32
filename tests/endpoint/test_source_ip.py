"""Which address counts as the source of a request, with and without CloudFront."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from murmuration.aws import parameters
from murmuration.endpoint import Request
from murmuration.identity import rate_limits
from murmuration.identity.rate_limits import LIMITS
from murmuration.settings import settings
from tests.in_process import Client

pytestmark = pytest.mark.usefixtures("deployment")
SECRET = "the viewer's secret"
SEEN = "198.51.100.9"
"""The address that API Gateway saw: CloudFront's, or that of who called it directly."""


@pytest.fixture(autouse=True)
def viewer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Yield a deployment with CloudFront in front, which limits rates."""
    monkeypatch.setenv("MURMURATION_VIEWER_SECRET_PARAMETER", "/murmuration-test/viewer-secret")
    monkeypatch.setenv("MURMURATION_RATE_LIMITS", "on")
    monkeypatch.setattr(parameters, "read_secret", lambda _: SECRET)
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


def source_ip(**headers: str) -> str:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request({"headers": named, "requestContext": {"identity": {"sourceIp": SEEN}}}).source_ip


def test_cloudfront_tells_the_clients_address() -> None:
    forwarded = f"10.1.1.1, 203.0.113.5, {SEEN}"
    shown = {"x_murmuration_viewer_secret": SECRET, "x_forwarded_for": forwarded}
    assert source_ip(**shown) == "203.0.113.5", "what the client itself forwarded is before that"


@pytest.mark.parametrize("secret", [None, "", "another", SECRET + "x"])
def test_nobody_else_does(secret: str | None) -> None:
    shown = {} if secret is None else {"x_murmuration_viewer_secret": secret}
    assert source_ip(**shown, x_forwarded_for=f"203.0.113.5, {SEEN}") == SEEN


def test_a_secret_without_an_address_tells_none() -> None:
    assert source_ip(x_murmuration_viewer_secret=SECRET) == SEEN
    assert source_ip(x_murmuration_viewer_secret=SECRET, x_forwarded_for=SEEN) == SEEN


def test_whoever_comes_past_cloudfront_changes_no_address_to_pass_a_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rate_limits, "now_ms", lambda: 1_700_000_000_000)
    client = Client(source_ip="2001:db8:cf::1")
    statuses = [
        client.request(
            "GET",
            "/_matrix/client/v3/register/available",
            headers={"X-Forwarded-For": f"203.0.113.{number}, 10.0.0.1", "X-Murmuration-Viewer-Secret": "x"},
            username="somebody",
        ).status
        for number in range(LIMITS["registration_query"].burst + 1)
    ]
    assert statuses[-1] == 429
    assert 429 not in statuses[:-1]
