"""A server whose events take long to process occupies few workers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from murmuration import clock
from murmuration.identity import budgets, patience, rate_limits
from murmuration.protocol.identifiers import UserId
from murmuration.settings import settings
from tests.federation.peers import Peer, Worker, share_room
from tests.in_process import Client
from tests.rooms.other_servers import log_ids


@pytest.fixture
def limits_on(alice: Client, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    now = clock.now_ms()
    monkeypatch.setenv("MURMURATION_RATE_LIMITS", "on")
    monkeypatch.setattr(rate_limits, "now_ms", lambda: now)
    monkeypatch.setattr(patience.Work, "quick_s", -1)
    settings.cache_clear()
    budgets.forget()
    yield
    monkeypatch.undo()
    settings.cache_clear()
    budgets.forget()


@pytest.mark.parametrize("left", [0, 1])
def test_beyond_that_its_events_are_parked(
    alice: Client, peer: Peer, worker: Worker, limits_on: None, left: int
) -> None:
    mirror = share_room(alice, peer)
    worker.run()
    owner = budgets.server_owner(peer.name)
    for _ in range(rate_limits.LIMITS["federation_work"].burst - left):
        rate_limits.check("federation_work", owner)
    bob = UserId(f"@bob:{peer.name}")
    _, said = (mirror.message(bob, text) for text in ("missing", "hello"))
    asked = len(peer.asked)
    peer.send(said)
    worker.run()
    assert (len(peer.asked) > asked) is bool(left)
    assert (said.event_id in log_ids(mirror.room_id)) is bool(left)
