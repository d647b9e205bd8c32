"""Workers handle whole batches, single messages if a batch fails, and dead letters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local_cloud.aws import patch
from local_cloud.aws.sqs import Sqs
from local_cloud.permissions import acting_for
from murmuration.aws import queues
from murmuration.cache import LruCache
from murmuration.endpoint.workers import Items, queue_worker, stream_worker
from murmuration.settings import settings


def event(*numbers: int) -> dict[str, Any]:
    """Return a batch of new items {n}, whose sequence numbers are these."""
    return {
        "Records": [
            {
                "eventName": "INSERT",
                "dynamodb": {
                    "Keys": {"n": {"N": str(number)}},
                    "NewImage": {"n": {"N": str(number)}, "b": {"B": "AQI="}},
                    "SequenceNumber": f"s{number}",
                },
            }
            for number in numbers
        ]
    }


def failures(answer: Any) -> list[str]:
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


@pytest.fixture
def dead_letters(deployment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Receive all messages of the dead letters' queue."""
    sqs = Sqs()
    services = patch.Services({"sqs": sqs.operations()})
    patch.install(services)
    monkeypatch.setattr(queues, "_urls", LruCache(10))
    name = settings().queue("dead-letters")
    sqs.create_queue({"QueueName": name})
    yield lambda: [json.loads(message.body) for message in sqs.queue(name).receive(10, wait=0)]
    sqs.close()
    patch.uninstall(services)


def test_a_batch_is_taken_together() -> None:
    seen: list[Items] = []
    worker = stream_worker("room-log")(seen.append)
    deletion = {"eventName": "REMOVE", "dynamodb": {"Keys": {}, "SequenceNumber": "s0"}}
    batch = event(1, 2)
    batch["Records"].insert(0, deletion)
    assert failures(worker(batch)) == []
    assert seen == [[{"n": 1, "b": b"\x01\x02"}, {"n": 2, "b": b"\x01\x02"}]]
    assert failures(worker({"Records": [deletion]})) == []
    assert len(seen) == 1


def test_what_may_pass_comes_again_with_all_that_follows() -> None:
    done: list[int] = []

    def work(items: Items) -> None:
        for item in items:
            if item["n"] == 2:
                raise ConnectionError("the network is down")
            done.append(item["n"])

    assert failures(stream_worker("room-log")(work)(event(1, 2, 3))) == ["s2"]
    assert 3 not in done


def test_what_can_not_be_handled_goes_to_the_dead_letters(dead_letters: Any) -> None:
    done: list[int] = []

    def work(items: Items) -> None:
        for item in items:
            done.append(1 // (item["n"] - 2) and item["n"])

    with acting_for("workers.streams"):
        assert failures(stream_worker("room-log")(work)(event(1, 2, 3))) == []
    assert done[-1] == 3
    (letter,) = dead_letters()
    assert letter["keys"] == {"n": {"N": "2"}}
    assert (letter["table"], letter["sequence_number"]) == ("room-log", "s2")
    assert letter["error"] == "ZeroDivisionError"


def message(number: int, body: Any, group: str | None = None) -> dict[str, Any]:
    attributes = {"MessageGroupId": group} if group else {}
    return {"messageId": f"m{number}", "body": json.dumps(body), "attributes": attributes}


def test_a_failed_message_holds_up_its_group_only() -> None:
    done: list[int] = []

    def work(body: dict[str, Any]) -> None:
        if body["n"] == 1:
            raise ConnectionError("later")
        done.append(body["n"])

    records = [message(n, {"n": n}, group) for n, group in enumerate(("a", "b", "b", "a"))]
    assert failures(queue_worker("q")(work)({"Records": records})) == ["m1", "m2"]
    assert done == [0, 3]


def test_equal_messages_once() -> None:
    done: list[Any] = []
    worker = queue_worker("q", fifo=False, once=True)(done.append)
    assert failures(worker({"Records": [message(n, {"n": n % 2}) for n in range(4)]})) == []
    assert done == [{"n": 0}, {"n": 1}]
