"""Other servers pay for their requests, and for the work on what they sent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from murmuration.aws import dynamodb
from murmuration.clock import now_ms
from murmuration.identity import budgets, rate_limits
from murmuration.identity.rate_limits import Limit
from murmuration.settings import settings
from murmuration.storage.buckets import TABLE
from tests.federation.peers import Peer, Worker, share_room
from tests.identity.buckets import spend_all, spent
from tests.in_process import Client
from tests.rooms.people import refused, send


@pytest.fixture(autouse=True)
def limits_on(alice: Client, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Budgets count; limits by calls hold up nothing."""
    monkeypatch.setenv("MURMURATION_RATE_LIMITS", "on")
    monkeypatch.setattr(rate_limits, "LIMITS", dict.fromkeys(rate_limits.LIMITS, Limit(1000, 10_000)))
    settings.cache_clear()
    budgets.forget()
    yield
    dynamodb.execute(dynamodb.delete(TABLE, budgets.bucket(budgets.FEDERATION).key))
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


def test_past_the_monthly_budget_servers_wait_and_own_users_do_not(
    alice: Client, peer: Peer, worker: Worker
) -> None:
    """What one server costs counts for all of them; after a while they are heard again."""
    mirror = share_room(alice, peer)
    bob = f"@bob:{peer.name}"
    monthly = settings().federation_budget * 1_000_000
    budgets.charge(budgets.server_owner("another.example"), monthly / 10 + budgets.QUANTUM)
    budgets.charge(budgets.server_owner("another.example"), 2 * budgets.QUANTUM)
    answer = peer.send(mirror.message(bob, "waits", learn=False))
    refused(answer, 429, "M_LIMIT_EXCEEDED")
    assert 0 < answer.json["retry_after_ms"] <= budgets.HOUR_MS
    send(alice, mirror.room_id, "the family goes on")
    budgets.charge(budgets.server_owner("another.example"), -monthly / 20)
    assert peer.send(mirror.message(bob, "comes later")).status == 200


def test_the_bound_for_all_servers_can_be_turned_off(
    alice: Client, peer: Peer, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MURMURATION_FEDERATION_BUDGET", "0")
    settings.cache_clear()
    mirror = share_room(alice, peer)
    budgets.charge(budgets.server_owner("another.example"), 10**9)
    assert peer.send(mirror.message(f"@bob:{peer.name}", "hello")).status == 200
