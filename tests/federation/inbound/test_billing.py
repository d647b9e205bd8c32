"""Other servers pay for their requests, and for the work on what they sent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from murmuration.clock import now_ms
from murmuration.identity import budgets, rate_limits
from murmuration.identity.rate_limits import Limit
from murmuration.settings import settings
from tests.federation.peers import Peer, Worker, share_room
from tests.identity.buckets import spend_all, spent
from tests.in_process import Client
from tests.rooms.people import refused


@pytest.fixture(autouse=True)
def limits_on(alice: Client, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Budgets count; limits by calls hold up nothing."""
    monkeypatch.setenv("MURMURATION_RATE_LIMITS", "on")
    monkeypatch.setattr(rate_limits, "LIMITS", dict.fromkeys(rate_limits.LIMITS, Limit(1000, 10_000)))
    settings.cache_clear()
    budgets.forget()
    yield
    monkeypatch.undo()
    settings.cache_clear()
    budgets.forget()


def spent_by(peer: Peer) -> float:
    owner = budgets.server_owner(peer.name)
    budgets._parts.setdefault(owner, 0.0)
    return spent(owner, now_ms())


def test_a_server_pays_for_requests_and_for_its_events(alice: Client, peer: Peer, worker: Worker) -> None:
    mirror = share_room(alice, peer)
    before = spent_by(peer)
    peer.send(mirror.message(f"@bob:{peer.name}", "hello"))
    sent = spent_by(peer)
    assert before < sent < before + 200
    worker.run()
    assert sent + 5 < spent_by(peer) < sent + 1000


def test_a_server_whose_budget_is_spent_is_told_to_wait(alice: Client, peer: Peer) -> None:
    mirror = share_room(alice, peer)
    spend_all(owner := budgets.server_owner(peer.name))
    budgets._parts[owner] = budgets.QUANTUM - 1.0
    answer = peer.send(mirror.message(f"@bob:{peer.name}", "hello"))
    refused(answer, 429, "M_LIMIT_EXCEEDED")
    assert answer.json["retry_after_ms"] > 0


def test_a_forged_request_costs_the_named_server_nothing(alice: Client, peer: Peer) -> None:
    before = spent_by(peer)
    other = Peer(peer.name)
    assert other.send().status == 401
    assert spent_by(peer) == before
