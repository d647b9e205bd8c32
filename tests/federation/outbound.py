"""Servers that take transactions, and the workers that send them, called by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from functions.workers.sending import retry_destinations, send_transactions
from local_cloud.aws.sqs import Sqs
from local_cloud.permissions import acting_for, module_of
from murmuration.aws import dynamodb
from murmuration.federation.outbound.ordering import order_sending
from murmuration.federation.outbound.pokes import OUTBOUND
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.settings import settings
from murmuration.storage.servers import backlogs
from tests.federation.network import Network, Received, Reply, TlsServer
from tests.in_process import Client
from tests.queue_records import queue_record
from tests.rooms.other_servers import Mirror
from tests.rooms.people import create_room


@dataclass
class Peer:
    """A server that takes transactions. `answer` says what it answers, or hangs; None: 200."""

    name: str
    answer: Callable[[dict[str, Any]], Reply] | None = None
    taken: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """The (transaction ID, body) of each that it answered with 200."""
    tried: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    server: TlsServer | None = None

    def start(self, network: Network) -> None:
        self.server = network.serve(self._take, self.name)
        network.at(self.name, 8448, self.server)

    def stop(self, network: Network) -> None:
        """Make the server unreachable."""
        del network.hosts[self.name, 8448]

    def _take(self, received: Received) -> Reply:
        if not received.target.startswith("/_matrix/federation/v1/send/"):
            return Reply({"errcode": "M_NOT_FOUND"}, 404)
        transaction = received.target.rpartition("/")[2], json.loads(received.body)
        self.tried.append(transaction)
        reply = self.answer(transaction[1]) if self.answer is not None else Reply({"pdus": {}})
        if reply.status == 200:
            self.taken.append(transaction)
        return reply

    @property
    def bodies(self) -> list[str]:
        """The texts of the messages that it took, in order."""
        return bodies(self.taken)


def bodies(transactions: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [
        pdu["content"]["body"]
        for _, transaction in transactions
        for pdu in transaction["pdus"]
        if pdu["type"] == "m.room.message"
    ]


class Workers:
    """The Streams worker of room logs, the queue's workers, and the schedule."""

    def __init__(self, sqs: Sqs) -> None:
        self._name = f"{settings().prefix}-{OUTBOUND}.fifo"
        attributes = {"FifoQueue": "true", "VisibilityTimeout": "600"}
        sqs.create_queue({"QueueName": self._name, "Attributes": attributes})
        self.queue = sqs.queue(self._name)
        self.invocations = 0
        for name, _ in backlogs.read_waiting():
            backlogs.drop(name)  # what other tests left over
        self._seen: dict[str, int] = {}

    def order(self, *rooms: str) -> None:
        """Do what the Streams worker does for new events in these rooms."""
        for room_id in rooms:
            items = dynamodb.query(
                "room-log",
                "room_id = :room AND #ordinal > :seen",
                {":room": room_id, ":seen": self._seen.get(room_id, 0)},
                names={"#ordinal": "ordinal"},
            )
            if items:
                self._seen[room_id] = items[-1]["ordinal"]
                with acting_for("workers.streams"):
                    order_sending(items)

    def skip(self, *rooms: str) -> None:
        """Regard all events of these rooms as already sent."""
        for room_id in rooms:
            head = dynamodb.get("rooms", {"room_id": room_id, "sk": "head"})
            assert head is not None
            self._seen[room_id] = head["ordinal"]

    def messages(self) -> list[dict[str, Any]]:
        """Take all messages out of the queue."""
        found = []
        while received := self.queue.receive(10, wait=0):
            for message in received:
                found.append(queue_record(message, self._name))
                self.queue.delete(message.receipt)
        return found

    def handle(self, record: dict[str, Any]) -> None:
        """Call the queue's worker, which must handle the message."""
        self.invocations += 1
        with acting_for(module_of(send_transactions.handler)):
            answer = send_transactions.handler({"Records": [record]})
        assert answer == {"batchItemFailures": []}

    def run(self, *rooms: str) -> None:
        """Order the sending of new events of the rooms, and process all messages of the queue."""
        self.order(*rooms)
        while records := self.messages():
            for record in records:
                self.handle(record)

    def tick(self) -> None:
        """Run the schedule, and process the messages that it queues."""
        self.schedule()
        self.run()

    def schedule(self) -> None:
        """Run the schedule's worker only."""
        with acting_for(module_of(retry_destinations.handler)):
            retry_destinations.handler({})


def room_with(alice: Client, *servers: str, **body: Any) -> Mirror:
    """Return a public room of Alice's in which each of the servers has a user."""
    room_id = RoomId(create_room(alice, preset="public_chat", **body))
    mirror = Mirror(room_id)
    for server in servers:
        user_id = UserId(f"@user:{server}")
        assert mirror.kinds(mirror.member(user_id, user_id, "join")) == ["accepted"]
    return mirror


def room_of(alice: Client, workers: Workers, *peers: Peer, **body: Any) -> Mirror:
    """Return a room with these servers, all of whose events so far were sent."""
    mirror = room_with(alice, *(peer.name for peer in peers), **body)
    workers.skip(mirror.room_id)
    return mirror
