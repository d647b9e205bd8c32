"""A few seconds of the soak: no message is missed, repeated or out of order."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.soak.run import Plan, soak

pytestmark = pytest.mark.long

SHORT = {"seconds": 2.0, "writers": 3, "rooms": 2, "http_readers": 4, "wanderers": 1, "socket_readers": 1,
         "sliding_readers": 2}  # fmt: skip


@pytest.mark.parametrize(
    ("waiting", "waits", "chaos", "api"),
    [
        ("parked", "edge", "twice", "http"),
        ("parked", "rest", "twice", "rest"),
        ("held", "rest", "pieces", "http"),
    ],
)
def test_short_soak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waiting: str, waits: str, chaos: str, api: str
) -> None:
    monkeypatch.setenv("MURMURATION_API", api)  # which servers under test share
    plan = Plan(**SHORT, waiting=waiting, waits=waits, chaos=chaos, kills=0)  # type: ignore[arg-type]
    report = asyncio.run(soak(plan, tmp_path))
    assert report.is_clean, str(report)
    assert report.acknowledged == report.sent > 0
    assert report.delivered > report.acknowledged


def test_short_soak_of_two_servers(tmp_path: Path) -> None:
    """All messages are delivered on both servers."""
    plan = Plan(**SHORT, servers=2, kills=0)  # type: ignore[arg-type]
    report = asyncio.run(soak(plan, tmp_path))
    assert report.is_clean, str(report)
    assert report.acknowledged == report.sent > 0
    assert report.delivered > report.acknowledged
