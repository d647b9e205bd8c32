"""A made-up homeserver in our rooms: it sends transactions and answers requests."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode

from local_cloud.aws.sqs import Sqs
from local_cloud.permissions import acting_for, module_of
from murmuration.aws import dynamodb
from murmuration.endpoint import discover
from murmuration.federation.inbound.transactions.queueing import QUEUE
from murmuration.protocol.encoding import x_matrix
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import EventId, RoomId, ServerName, UserId
from murmuration.settings import settings
from murmuration.storage import parked
from tests.federation.network import Network, Received, Reply
from tests.federation.remote import Remote, encode
from tests.in_process import Answer, Client, segment
from tests.rooms.other_servers import Mirror, key_of
from tests.rooms.people import create_room

SECRET = "the viewer side's"
_transactions = itertools.count(1)


@dataclass
class Peer(Remote):
    """A server that knows a room by its `mirror`; what it is asked is noted in `asked`.

    `lies` has answers of its own for some questions, by the word in the path: JSON, or a Reply.
    """

    mirror: Mirror | None = None
    asked: list[str] = field(default_factory=list)
    lies: dict[str, Any] = field(default_factory=dict)

    @property
    def room(self) -> Mirror:
        assert self.mirror is not None
        return self.mirror

    # -- Asking us ---------------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: Any = x_matrix.ABSENT, **query: Any) -> Answer:
        """Send a request that is signed by this server, through the viewer's side."""
        uri = f"{path}?{urlencode(query, doseq=True)}" if query else path
        headers = {
            "Authorization": self.authorization(method, uri, body),
            "x-murmuration-uri": uri,
            "x-murmuration-viewer-secret": SECRET,
        }
        raw = None if body is x_matrix.ABSENT else encode(body)
        return Client().request(method, uri, raw, headers=headers)

    def get(self, what: str, *parts: str, **query: Any) -> Answer:
        path = "/".join(["/_matrix/federation/v1", what, *(segment(part) for part in parts)])
        return self.call("GET", path, **query)

    def send(self, *pdus: Event | Any, edus: list[Any] | None = None) -> Answer:
        """Send a transaction with these events, and return the answer."""
        content = {
            "origin": self.name,
            "origin_server_ts": 1,
            "pdus": [it.pdu if isinstance(it, Event) else it for it in pdus],
            **({"edus": edus} if edus is not None else {}),
        }
        return self.call("PUT", f"/_matrix/federation/v1/send/{next(_transactions)}", content)

    # -- Being asked -------------------------------------------------------------------------------------

    def answer(self, received: Received) -> Reply:
        path, _, query = received.target.partition("?")
        parts = [unquote(part) for part in path.split("/")[1:]]
        if parts[:3] != ["_matrix", "federation", "v1"]:
            return super().answer(received)
        what = parts[3]
        self.asked.append(what)
        if what in self.lies:
            lie = self.lies[what]
            lie = lie() if callable(lie) else lie
            return lie if isinstance(lie, Reply) else Reply(lie)
        body = json.loads(received.body) if received.body else None
        found = self._answer(what, parts[4:], parse_qs(query), body)
        return Reply(found) if found is not None else Reply({"errcode": "M_NOT_FOUND", "error": "?"}, 404)

    def _answer(self, what: str, parts: list[str], query: dict[str, list[str]], body: Any) -> Any:
        room = self.room
        event_id = EventId((query.get("event_id") or parts[-1:])[0])
        match what:
            case "event" if event_id in room.events and event_id not in room.secret:
                return {"origin": self.name, "origin_server_ts": 1, "pdus": [room.events[event_id].pdu]}
            case "event_auth" if event_id in room.events:
                return {"auth_chain": room.auth_chain(room.events[event_id])}
            case "get_missing_events":
                latest = room.events[body["latest_events"][0]]
                return {"events": room.events_between(latest, body["earliest_events"])[: body["limit"]]}
            case "state_ids" | "state" if event_id in room.events and event_id not in room.hidden:
                told = room.state_ids_before(room.events[event_id])
                assert told is not None
                if what == "state_ids":
                    return {"pdu_ids": told.state, "auth_chain_ids": told.auth_chain}
                return {
                    "pdus": [room.events[it].pdu for it in told.state],
                    "auth_chain": [room.events[it].pdu for it in told.auth_chain],
                }
            case "backfill":
                walk = room.ancestors(query["v"]) - room.hidden - room.secret
                events = [event.pdu for event in reversed(room.events.values()) if event.event_id in walk]
                limit = int(query["limit"][0])
                return {"origin": self.name, "origin_server_ts": 1, "pdus": events[:limit]}
        return None


def make_peer(network: Network, name: ServerName) -> Peer:
    made = Peer(name, key_of(name))
    made.serve(network)
    return made


def share_room(alice: Client, *peers: Peer, version: str = "12", **body: Any) -> Mirror:
    """Return a room of Alice's in which `@bob` of each peer is, by events that they sent us."""
    room_id = RoomId(create_room(alice, preset="public_chat", room_version=version, **body))
    mirror = Mirror(room_id)
    for peer in peers:
        peer.mirror = mirror
        bob = UserId(f"@bob:{peer.name}")
        assert mirror.kinds(mirror.member(bob, bob, "join")) == ["accepted"]
    mirror.asked.clear()
    return mirror


class Worker:
    """The queue of PDUs, and the function that works through it."""

    def __init__(self, sqs: Sqs) -> None:
        self._sqs = sqs
        self.name = f"{settings().queue(QUEUE)}.fifo"
        sqs.create_queue(
            {"QueueName": self.name, "Attributes": {"FifoQueue": "true", "VisibilityTimeout": "0"}}
        )
        self._url = sqs.get_queue_url({"QueueName": self.name})["QueueUrl"]
        functions = {function.name: function for function in discover()}
        self._worker: Any = functions["workers-work_through_pdus"].handler
        self._schedule: Any = functions["workers-retry_parked_pdus"].handler
        _forget_parked_receipts()

    def messages(self) -> Iterator[dict[str, Any]]:
        """Yield the waiting messages. A message is delivered again unless the next one is asked for."""
        while True:
            found = self._sqs.receive_message(
                {"QueueUrl": self._url, "AttributeNames": ["All"], "VisibilityTimeout": 0}
            ).get("Messages", [])
            if not found:
                return
            (message,) = found
            yield message
            self._sqs.delete_message({"QueueUrl": self._url, "ReceiptHandle": message["ReceiptHandle"]})

    def run(self) -> int:
        """Work through all messages, and return their number."""
        number = 0
        for message in self.messages():
            number += 1
            with acting_for(module_of(self._worker)):
                answer = self._worker({"Records": [record_of(message)]}, None)
            assert answer == {"batchItemFailures": []}
        return number

    def retry(self) -> int:
        """Run the schedule's worker, and then the queue's worker."""
        with acting_for(module_of(self._schedule)):
            self._schedule({}, None)
        return self.run()


def _forget_parked_receipts() -> None:
    """Remove what other tests have left, which the schedule would queue in the middle of this one."""
    for item in dynamodb.query(parked.TABLE, "pk = :pk", {":pk": "receipts"}):
        dynamodb.execute(dynamodb.delete(parked.TABLE, {"pk": item["pk"], "sk": item["sk"]}))


def record_of(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message as Lambda passes it to a function."""
    return {
        "messageId": message["MessageId"],
        "body": message["Body"],
        "attributes": message["Attributes"],
    }
