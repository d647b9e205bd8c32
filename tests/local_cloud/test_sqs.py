from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.aws import sqs_queue
from local_cloud.aws.sqs import Sqs
from local_cloud.aws.sqs_queue import Queue
from local_cloud.store import Store
from tests.local_cloud.waiting import PATIENCE_S, until


@pytest.fixture
def sqs(make_client):
    return make_client("sqs")


def bodies(answer):
    return [message["Body"] for message in answer.get("Messages", [])]


def standard(**attributes: str) -> Queue:
    return Queue("q", attributes)


def fifo(**attributes: str) -> Queue:
    return Queue("q.fifo", {"FifoQueue": "true", **attributes})


def received(queue: Queue, count: int = 10, **options: float) -> list[str]:
    return [message.body for message in queue.receive(count, options.pop("wait", 0), **options)]


# The API, through botocore


def test_send_receive_delete(sqs):
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    assert sqs.get_queue_url(QueueName="q")["QueueUrl"] == url
    sent = sqs.send_message(
        QueueUrl=url, MessageBody="é", MessageAttributes={"a": {"DataType": "String", "StringValue": "1"}}
    )
    message = sqs.receive_message(
        QueueUrl=url, MessageSystemAttributeNames=["All"], MessageAttributeNames=["All"]
    )["Messages"][0]
    assert (message["MessageId"], message["Body"]) == (sent["MessageId"], "é")
    assert message["MD5OfBody"] == sent["MD5OfMessageBody"]
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    assert message["MessageAttributes"]["a"]["StringValue"] == "1"
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes["ApproximateNumberOfMessages"] == "0"
    assert attributes["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_errors_are_botocores(sqs):
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        sqs.get_queue_url(QueueName="none")
    with pytest.raises(ClientError):
        sqs.create_queue(QueueName="a.fifo")
    sqs.create_queue(QueueName="q", Attributes={"VisibilityTimeout": "1"})
    sqs.create_queue(QueueName="q", Attributes={"VisibilityTimeout": "1"})
    with pytest.raises(ClientError, match="QueueAlreadyExists"):
        sqs.create_queue(QueueName="q", Attributes={"VisibilityTimeout": "2"})


def test_an_unknown_operation_says_so(sqs):
    with pytest.raises(ClientError, match="has no sqs"):
        sqs.list_queue_tags(QueueUrl="https://sqs/q")


def test_batches(sqs):
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    entries = [{"Id": str(n), "MessageBody": f"m{n}"} for n in range(10)]
    assert len(sqs.send_message_batch(QueueUrl=url, Entries=entries)["Successful"]) == 10
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert [message["Body"] for message in messages] == [f"m{n}" for n in range(10)]
    handles = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
    sqs.change_message_visibility_batch(
        QueueUrl=url, Entries=[{**handle, "VisibilityTimeout": 0} for handle in handles[:5]]
    )
    assert len(bodies(sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10))) == 5
    with pytest.raises(ClientError):
        sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "x", "MessageBody": "m"}] * 2)


def test_a_fifo_queue_insists_on_group_and_deduplication(sqs):
    url = sqs.create_queue(QueueName="q.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    with pytest.raises(ClientError):
        sqs.send_message(QueueUrl=url, MessageBody="m")
    with pytest.raises(ClientError):
        sqs.send_message(QueueUrl=url, MessageBody="m", MessageGroupId="g")
    first = sqs.send_message(QueueUrl=url, MessageBody="m", MessageGroupId="g", MessageDeduplicationId="d")
    again = sqs.send_message(QueueUrl=url, MessageBody="m", MessageGroupId="g", MessageDeduplicationId="d")
    assert (again["MessageId"], again["SequenceNumber"]) == (first["MessageId"], first["SequenceNumber"])


def test_a_message_has_a_size(sqs):
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    with pytest.raises(ClientError):
        sqs.send_message(QueueUrl=url, MessageBody="x" * 1_048_577)


def test_dead_letters(sqs):
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
    url = sqs.create_queue(QueueName="q", Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "0"})[
        "QueueUrl"
    ]
    sqs.send_message(QueueUrl=url, MessageBody="poison")
    assert bodies(sqs.receive_message(QueueUrl=url)) == ["poison"]
    assert bodies(sqs.receive_message(QueueUrl=url)) == ["poison"]
    assert bodies(sqs.receive_message(QueueUrl=url)) == []
    assert bodies(sqs.receive_message(QueueUrl=dead)) == ["poison"]


# Visibility


def test_a_message_comes_back_when_its_timeout_ends():
    queue = standard()
    queue.send("m")
    (message,) = queue.receive(1, 0, visibility=60)
    assert received(queue) == []
    assert queue.change_visibility(message.receipt, 0.05)
    assert received(queue, wait=PATIENCE_S) == ["m"], "a waiting receiver gets it without polling"


def test_a_delayed_message_comes_later():
    queue = standard()
    queue.send("much later", delay=600)
    queue.send("now")
    assert received(queue) == ["now"]
    queue.send("later", delay=0.05)
    assert received(queue, wait=PATIENCE_S) == ["later"]


def test_an_old_receipt_does_not_delete_a_message_received_again():
    queue = standard()
    queue.send("m")
    (first,) = queue.receive(1, 0, visibility=0.01)
    old = first.receipt
    (second,) = queue.receive(1, PATIENCE_S, visibility=60)
    queue.delete(old)
    assert queue.counts() == (0, 1, 0)
    queue.delete(second.receipt)
    assert queue.counts() == (0, 0, 0)


def test_visibility_can_be_extended_and_ended():
    queue = standard()
    queue.send("m")
    (message,) = queue.receive(1, 0, visibility=0.05)
    assert queue.change_visibility(message.receipt, 60)
    assert received(queue, wait=0.1) == []
    assert queue.change_visibility(message.receipt, 0)
    assert received(queue) == ["m"]
    assert not queue.change_visibility("unknown", 1)


def test_a_message_that_is_visible_again_can_still_be_deleted():
    queue = standard()
    queue.send("m")
    (message,) = queue.receive(1, 0, visibility=0)
    assert queue.counts()[0] == 1
    queue.delete(message.receipt)
    assert received(queue) == []
    assert queue.counts() == (0, 0, 0)


# FIFO


def test_a_group_in_flight_blocks_its_own_messages_only():
    queue = fifo()
    for number in range(3):
        queue.send(f"a{number}", group="a", deduplication=f"a{number}")
        queue.send(f"b{number}", group="b", deduplication=f"b{number}")
    (first,) = queue.receive(1, 0)
    assert first.body == "a0"
    assert received(queue, 10) == ["b0", "b1", "b2"]
    assert received(queue, 10) == []
    queue.delete(first.receipt)
    assert received(queue, 10) == ["a1", "a2"]


def test_a_failed_message_is_first_again():
    queue = fifo()
    for number in range(4):
        queue.send(str(number), group="g", deduplication=str(number))
    batch = queue.receive(3, 0)
    queue.delete(batch[0].receipt)
    queue.change_visibility(batch[1].receipt, 0)
    assert received(queue) == [], "its neighbour is still in flight"
    queue.change_visibility(batch[2].receipt, 0)
    assert received(queue) == ["1", "2", "3"]


def test_a_duplicate_is_dropped_even_when_the_first_is_deleted(monkeypatch):
    queue = fifo()
    queue.send("m", group="g", deduplication="d")
    (message,) = queue.receive(1, 0)
    queue.delete(message.receipt)
    queue.send("again", group="other", deduplication="d")
    assert received(queue) == []
    monkeypatch.setattr(sqs_queue, "DEDUPLICATION_SECONDS", 0)
    queue.send("after five minutes", group="g", deduplication="d")
    assert received(queue) == ["after five minutes"]


def test_deduplication_by_group():
    queue = fifo(DeduplicationScope="messageGroup")
    queue.send("m", group="g", deduplication="d")
    queue.send("m", group="h", deduplication="d")
    assert received(queue) == ["m", "m"]


def test_a_waiting_receiver_gets_the_next_of_a_group_when_it_is_free():
    queue = fifo()
    queue.send("1", group="g", deduplication="1")
    queue.send("2", group="g", deduplication="2")
    (first,) = queue.receive(1, 0)
    got: list[str] = []
    thread = threading.Thread(target=lambda: got.extend(received(queue, wait=PATIENCE_S)))
    thread.start()
    queue.delete(first.receipt)
    thread.join(PATIENCE_S)
    assert got == ["2"]


def test_many_receivers_get_each_message_once_and_groups_in_order():
    queue = fifo()
    seen: dict[str, list[int]] = {f"g{n}": [] for n in range(5)}
    busy: set[str] = set()
    left = threading.Semaphore(0)

    def work():
        while messages := queue.receive(3, PATIENCE_S):
            groups = {str(message.group) for message in messages}
            assert not groups & busy
            busy.update(groups)
            for message in messages:
                seen[str(message.group)].append(int(message.body))
            busy.difference_update(groups)
            for message in messages:
                queue.delete(message.receipt)
                left.release()

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for number in range(100):
        for group in seen:
            queue.send(str(number), group=group, deduplication=f"{group}-{number}")
    for _ in range(500):
        assert left.acquire(timeout=PATIENCE_S)
    queue.close()
    for worker in workers:
        worker.join(PATIENCE_S)
    assert all(numbers == list(range(100)) for numbers in seen.values())


# Waiting


class Waits(threading.Condition):
    """A condition that counts how often somebody begins to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.begun += 1
        return super().wait(timeout)


def test_a_waiting_receiver_is_woken_by_a_message_and_by_nothing_else():
    """It doesn't poll, so many receivers may wait without using the processor."""
    queue = standard()
    queue._changed = waits = Waits()
    got: list[str] = []
    thread = threading.Thread(target=lambda: got.extend(received(queue, wait=2 * PATIENCE_S)))
    thread.start()
    until(lambda: waits._waiters)  # type: ignore[attr-defined]
    queue.send("m")
    thread.join(PATIENCE_S)
    assert (got, waits.begun) == (["m"], 1)


def test_a_thousand_receivers_may_wait_at_once():
    service = Sqs()
    queues = []
    for number in range(1000):
        service.create_queue({"QueueName": f"wake-{number}"})
        queues.append(service.queue(f"wake-{number}"))
    threads = [threading.Thread(target=queue.receive, args=(1, 2 * PATIENCE_S)) for queue in queues]
    for thread in threads:
        thread.start()
    until(lambda: all(queue._changed._waiters for queue in queues))  # type: ignore[attr-defined]
    service.close()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_closing_sends_receivers_home():
    queue = standard()
    thread = threading.Thread(target=queue.receive, args=(1, 2 * PATIENCE_S))
    thread.start()
    queue.close()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_messages_of_fifo_queues_survive_the_process(tmp_path: Path):
    """A message that was received but not deleted comes again, in order. A deleted one doesn't."""
    name: Any = {"QueueName": "work.fifo", "Attributes": {"FifoQueue": "true"}}
    store = Store(tmp_path / "store.db")
    service = Sqs(store)
    service.create_queue(name)
    service.create_queue({"QueueName": "hints"})
    queue = service.queue("work.fifo")
    for number in range(4):
        queue.send(f"{number}", group="a" if number % 2 else "b", deduplication=f"{number}")
    service.queue("hints").send("gone")
    (first,) = queue.receive(1, 0)
    queue.delete(first.receipt)
    queue.receive(1, 0)  # and killed while it was worked at
    store.close()

    again = Store(tmp_path / "store.db")
    service = Sqs(again)
    service.create_queue(name)
    service.create_queue({"QueueName": "hints"})
    assert service.queue("hints").receive(1, 0) == []
    queue = service.queue("work.fifo")
    found = []
    while messages := queue.receive(10, 0):
        for message in messages:
            found.append((message.group, message.body))
            queue.delete(message.receipt)
    assert sorted(found, key=lambda pair: pair[0] == "b") == [("a", "1"), ("a", "3"), ("b", "2")]
    queue.send("new", group="a", deduplication="new")
    queue.purge()
    assert again.rows("SELECT * FROM messages") == []
    again.close()
