"""Random outages, and workers that stop at any of their writes: everything arrives, in order."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from functions.workers.sending import send_transactions
from murmuration.federation.outbound import transactions
from murmuration.federation.outbound.transactions import Outcome
from murmuration.protocol.identifiers import ServerName
from murmuration.storage.servers import backlogs
from tests.faults import Way, fault
from tests.federation.conftest import Clock
from tests.federation.network import Network
from tests.federation.outbound import Workers, room_with
from tests.in_process import Client
from tests.rooms.people import send


class Story:
    """Three servers in two rooms with random answers, and what each received, in order."""

    def __init__(self, alice: Client, workers: Workers, name: str, seed: int) -> None:
        self.alice = alice
        self.workers = workers
        self.chance = random.Random(seed)
        self.servers = [ServerName(f"s{number}-{seed}-{name}") for number in range(3)]
        self.rooms = [room_with(alice, *self.servers).room_id for _ in range(2)]
        workers.skip(*self.rooms)
        self.said: dict[str, list[str]] = {room_id: [] for room_id in self.rooms}
        self.taken: dict[str, list[tuple[str, str]]] = {server: [] for server in self.servers}
        self.unconfirmed: dict[str, str] = {}
        self.waiting: deque[dict[str, Any]] = deque()
        self.calm = False

    def answer(self, server: str, txn_id: str, content: dict[str, Any], **_: Any) -> Outcome:
        """Return a random answer. Fails if a transaction comes while another isn't confirmed; a lost answer
        is a failure.
        """
        assert self.unconfirmed.get(server, txn_id) == txn_id
        lot = 1.0 if self.calm else self.chance.random()
        if lot < 0.25:
            return Outcome.FAILED
        self.taken[server] += [(pdu["room_id"], pdu["content"]["body"]) for pdu in content["pdus"]]
        if lot < 0.4:
            self.unconfirmed[server] = txn_id
            return Outcome.FAILED
        self.unconfirmed.pop(server, None)
        return Outcome.DELIVERED

    def step(self) -> None:
        for _ in range(self.chance.randrange(3)):
            room_id = self.chance.choice(self.rooms)
            text = f"{len(self.said[room_id])}"
            send(self.alice, room_id, text)
            self.said[room_id].append(text)
        self.workers.order(*self.rooms)
        self.waiting.extend(self.workers.messages())
        for _ in range(len(self.waiting)):
            record = self.waiting.popleft()
            if not self.handle(record):
                # Its group waits until it is done.
                group = record["attributes"]["MessageGroupId"]
                same = [it for it in self.waiting if it["attributes"]["MessageGroupId"] == group]
                others = [it for it in self.waiting if it["attributes"]["MessageGroupId"] != group]
                self.waiting = deque([*others, record, *same])
                break

    def handle(self, record: dict[str, Any]) -> bool:
        at = 0 if self.calm or self.chance.random() < 0.6 else self.chance.randrange(1, 8)
        with fault(at, self.chance.choice(list(Way))):
            return not send_transactions.handler({"Records": [record]})["batchItemFailures"]

    def check(self) -> None:
        assert all(backlogs.read(server) is None for server in self.servers)
        assert not {name for name, _ in backlogs.read_waiting()}.intersection(self.servers)
        for server in self.servers:
            for room_id in self.rooms:
                texts = [text for room, text in self.taken[server] if room == room_id]
                assert list(dict.fromkeys(texts)) == self.said[room_id], (server, texts)


@pytest.mark.parametrize("seed", range(12))
def test_everything_arrives_in_order(
    seed: int,
    network: Network,
    sqs: Any,
    make_client: Callable[..., Client],
    moving_clock: Clock,
    fresh_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workers = Workers(sqs)
    story = Story(make_client("alice"), workers, fresh_name, seed)
    monkeypatch.setattr(transactions, "send", story.answer)
    for _ in range(15):
        story.step()
        moving_clock.advance(story.chance.choice((0, 2, 100)))
        workers.schedule()
    story.calm = True
    for _ in range(8):
        story.step()
        moving_clock.advance(200)
        workers.schedule()
        story.step()
    story.check()
