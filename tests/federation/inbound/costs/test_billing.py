"""Other servers pay for their requests, and for the work on what they sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from murmuration.aws import dynamodb
from murmuration.clock import now_ms
from murmuration.federation.inbound.transactions.edus import take_edus
from murmuration.identity import budgets, rate_limits
from murmuration.identity.rate_limits import Limit
from murmuration.protocol.errors import LimitExceeded
from murmuration.protocol.identifiers import DeviceId, ServerName, UserId
from murmuration.settings import settings
from murmuration.storage.buckets import TABLE
from murmuration.storage.live import to_device
from tests.federation.peers import Peer, Worker, share_room
from tests.identity.buckets import spend_all, spent
from tests.in_process import Client
from tests.rooms.people import refused, send

NOW_MS = now_ms()


@pytest.fixture(autouse=True)
def limits_on(alice: Client, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Turn on budgets, but no limits by calls. The clock stands still, so nothing comes back by itself."""
    monkeypatch.setattr(budgets, "now_ms", lambda: NOW_MS)
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
    owner = budgets.server_owner(ServerName(peer.name))
    budgets._parts.setdefault(owner, 0.0)
    return spent(owner, NOW_MS)


def test_a_server_pays_for_requests_and_for_its_events(alice: Client, peer: Peer, worker: Worker) -> None:
    mirror = share_room(alice, peer)
    before = spent_by(peer)
    peer.send(mirror.message(UserId(f"@bob:{peer.name}"), "hello"))
    sent = spent_by(peer)
    assert before < sent < before + 200
    worker.run()
    assert sent + 5 < spent_by(peer) < sent + 1000


def test_a_server_whose_budget_is_spent_is_told_to_wait(alice: Client, peer: Peer) -> None:
    mirror = share_room(alice, peer)
    spend_all(owner := budgets.server_owner(ServerName(peer.name)))
    budgets._parts[owner] = budgets.QUANTUM - 1.0
    answer = peer.send(mirror.message(UserId(f"@bob:{peer.name}"), "hello"))
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
    """The costs of one server count for all other servers. After a while they may send again."""
    mirror = share_room(alice, peer)
    bob = UserId(f"@bob:{peer.name}")
    monthly = settings().federation_budget * 1_000_000
    budgets.charge(budgets.server_owner(ServerName("another.example")), monthly / 10 + budgets.QUANTUM)
    budgets.charge(budgets.server_owner(ServerName("another.example")), 2 * budgets.QUANTUM)
    answer = peer.send(mirror.message(bob, "waits", learn=False))
    refused(answer, 429, "M_LIMIT_EXCEEDED")
    assert 0 < answer.json["retry_after_ms"] <= budgets.HOUR_MS
    send(alice, mirror.room_id, "the family goes on")
    budgets.charge(budgets.server_owner(ServerName("another.example")), -monthly / 20)
    assert peer.send(mirror.message(bob, "comes later")).status == 200


def test_the_bound_for_all_servers_can_be_turned_off(
    alice: Client, peer: Peer, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MURMURATION_FEDERATION_BUDGET", "0")
    settings.cache_clear()
    mirror = share_room(alice, peer)
    budgets.charge(budgets.server_owner(ServerName("another.example")), 10**9)
    assert peer.send(mirror.message(UserId(f"@bob:{peer.name}"), "hello")).status == 200


# -- What isn't an event ---------------------------------------------------------------------------------


def messages(peer: Peer, alice: Client, message_id: str, size: int) -> dict[str, Any]:
    """Return messages for all of Alice's devices."""
    content = {
        "sender": f"@bob:{peer.name}",
        "type": "m.test",
        "message_id": message_id,
        "messages": {alice.user_id: {"*": {"id": message_id, "x": "x" * size}}},
    }
    return {"edu_type": "m.direct_to_device", "content": content}


def received(alice: Client) -> list[str]:
    found = to_device.read(UserId(alice.user_id), DeviceId(alice.device_id), 0, 100)
    return [event["content"]["id"] for event in found.events]


def have(owner: str, microdollars: float) -> None:
    """Leave this amount in a bucket."""
    spend_all(owner)
    budgets.forget()
    dynamodb.execute(dynamodb.delete("transient", budgets.bucket(owner).key))
    budgets._parts[owner] = 0.0
    budgets.charge(owner, budgets.burst() - microdollars)
    budgets._parts[owner] = 0.0


def test_messages_wait_for_a_budget_and_none_is_lost(alice: Client, peer: Peer) -> None:
    """The costs of storing are charged in advance: 40 devices with 30 kB each cost more than the rest of the
    budget.
    """
    dynamodb.batch_write(
        [dynamodb.put("users", {"user_id": alice.user_id, "sk": f"device#D{n:02}"}) for n in range(40)]
    )
    owner = budgets.server_owner(ServerName(peer.name))
    have(owner, 1_000)
    edus = [messages(peer, alice, "small", 1), messages(peer, alice, "large", 30_000)]
    refused(peer.send(edus=edus), 429, "M_LIMIT_EXCEEDED")
    assert received(alice) == ["small"]
    have(owner, 20_000)
    for _ in range(2):
        assert peer.send(edus=edus).status == 200
    assert received(alice) == ["small", "large"]


def test_messages_that_no_budget_ever_allows_hold_up_no_others(alice: Client, peer: Peer) -> None:
    dynamodb.batch_write(
        [dynamodb.put("users", {"user_id": alice.user_id, "sk": f"device#D{n:02}"}) for n in range(40)]
    )
    have(budgets.server_owner(ServerName(peer.name)), budgets.burst())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budgets, "burst", lambda: 2_000)
        assert peer.send(edus=[messages(peer, alice, "large", 30_000)]).status == 200
    assert received(alice) == []
    assert peer.send(edus=[messages(peer, alice, "small", 10)]).status == 200
    assert received(alice) == ["small"]


@pytest.mark.parametrize(
    ("edu_type", "is_dropped"),
    [
        ("m.typing", True),
        ("m.receipt", True),
        ("m.device_list_update", False),
        ("m.signing_key_update", False),
    ],
)
def test_what_is_soon_stale_is_dropped_and_the_rest_comes_again(edu_type: str, is_dropped: bool) -> None:
    owner = budgets.server_owner(ServerName("elsewhere.example"))
    have(owner, 0)
    edus = [{"edu_type": edu_type, "content": {}} for _ in range(100)]
    with budgets.billing("send"):
        budgets._parts[owner] = 0.0
        budgets.charge_to(owner)
        if is_dropped:
            take_edus(ServerName("elsewhere.example"), edus)
        else:
            with pytest.raises(LimitExceeded):
                take_edus(ServerName("elsewhere.example"), edus)
