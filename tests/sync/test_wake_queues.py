"""When wake queues are made, and how they are named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from infra_shared import edge_waits, parking
from local_cloud.aws.patch import AwsError
from local_cloud.aws.sqs import Sqs
from local_cloud.names import ACCOUNT, QUEUE_URLS
from murmuration.aws import calls, queues
from murmuration.aws.calls import Answer, Call, Proceed
from murmuration.cache import LruCache
from murmuration.protocol.identifiers import RoomId
from murmuration.settings import settings
from murmuration.storage.live import wake_queues

QUEUE = "0123456789abcdef" * 2


@pytest.fixture
def asked(sqs: Sqs, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Yield the list of requests to SQS, in a deployment that knows its account and region. Workers aren't
    called.
    """
    monkeypatch.setenv("MURMURATION_QUEUE_URLS", QUEUE_URLS)
    settings.cache_clear()
    monkeypatch.setattr(queues, "ring", lambda *_args: None)
    seen: list[str] = []

    def note(call: Call, proceed: Proceed) -> Answer:
        seen.append(call.operation)
        return proceed(call)

    monkeypatch.setattr(calls, "_interceptors", (note, *calls._interceptors))
    yield seen
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def behind_rest(deployment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Yield a deployment whose clients wait behind a REST API."""
    monkeypatch.setenv("MURMURATION_WAITS", "rest")
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


def start_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clear a process's caches."""
    monkeypatch.setattr(wake_queues, "_urls", LruCache(10))


def test_a_queue_is_made_once_for_all_processes(
    asked: list[str], sqs: Sqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = wake_queues.ensure(QUEUE)
    assert url == f"{QUEUE_URLS}{settings().queue(wake_queues.prefix())}{QUEUE}"
    assert asked == ["CreateQueue"]
    for _ in range(3):
        start_anew(monkeypatch)
        assert wake_queues.ensure(QUEUE, known=url) == url
    assert asked == ["CreateQueue"]


def test_the_registration_on_a_queue_of_another_version_shows_nothing(asked: list[str]) -> None:
    older = f"{QUEUE_URLS}{settings().queue('wake-')}{QUEUE}"
    assert wake_queues.ensure(QUEUE, known=older) != older
    assert asked == ["CreateQueue"]


def test_a_queue_in_doubt_is_made_only_if_it_is_gone(asked: list[str], sqs: Sqs) -> None:
    url = wake_queues.ensure(QUEUE)
    wake_queues.ring(url, "nonce")
    asked.clear()
    assert wake_queues.ensure(QUEUE, known=url, doubtful=True) == url
    assert asked == ["ReceiveMessage"]
    assert sqs.queue(url.rpartition("/")[2]).counts()[0] == 1, "the ring is still there"
    sqs._queues.clear()
    assert wake_queues.ensure(QUEUE, known=url, doubtful=True) == url
    assert asked == ["ReceiveMessage", "ReceiveMessage", "CreateQueue"]


def test_who_holds_a_wait_makes_the_queue_when_it_is_missed(asked: list[str], sqs: Sqs) -> None:
    url = wake_queues.ensure(QUEUE, lazily=True)
    assert asked == []
    assert wake_queues.wait(url, "nonce", 5).what == "made", "something may have been lost: look again"
    assert sqs.queue(url.rpartition("/")[2])


def test_other_queues_urls_are_not_asked_for_either(asked: list[str], sqs: Sqs) -> None:
    sqs.create_queue({"QueueName": settings().queue("socket-pushes")})
    queues.send("socket-pushes", {})
    assert asked == ["SendMessage"]


def test_a_changed_attribute_needs_a_new_version(behind_rest: None) -> None:
    """SQS refuses to make a queue that exists with other attributes, so those are made under another name."""
    assert (wake_queues.prefix(), wake_queues._attributes("q")) == (
        "wake-2-",
        {"MessageRetentionPeriod": "75"},
    )
    assert wake_queues.prefix() == parking.QUEUE_PREFIX


def test_a_queue_with_other_attributes_can_not_be_made_again(sqs: Sqs) -> None:
    def make(**attributes: Any) -> None:
        sqs.create_queue({"QueueName": "q", "Attributes": attributes})

    make(MessageRetentionPeriod="60")
    with pytest.raises(AwsError, match="other attributes"):
        make(MessageRetentionPeriod="120")


def test_a_queue_at_the_edge_lets_receive_who_knows_the_secret(
    asked: list[str], sqs: Sqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = wake_queues.edge_secret()
    name = wake_queues.ensure(QUEUE).rpartition("/")[2]
    assert name == f"{settings().prefix}-{edge_waits.QUEUE_PREFIX}{QUEUE}"
    attributes = sqs.queue(name).attributes
    assert attributes["SqsManagedSseEnabled"] == "false", (
        "SQS takes no unsigned request for what is encrypted"
    )
    statements = json.loads(attributes["Policy"])["Statement"]
    assert [found["Condition"]["StringEquals"] for found in statements] == [
        {"aws:UserAgent": secret},
        {"aws:Referer": secret},
    ]
    for found in statements:
        assert found["Condition"]["Bool"] == {"aws:SecureTransport": "true"}
        assert found["Action"] == "sqs:ReceiveMessage"
        assert found["Resource"] == f"arn:aws:sqs:*:{ACCOUNT}:{name}"
    assert wake_queues.id_of(wake_queues.ensure(QUEUE)) == QUEUE
    start_anew(monkeypatch)
    assert wake_queues.ensure(QUEUE), "made again with the same attributes, it is the same"
    assert asked == ["CreateQueue", "CreateQueue"]


@pytest.mark.parametrize(
    ("rings", "rooms"),
    [
        ([["!a"]], {"!a"}),
        ([["!a"], ["!b", "!é d~~"]], {"!a", "!b", "!é d~~"}),
        ([["!a"], []], set()),
        ([[]], set()),
    ],
    ids=["one ring", "two rings", "one of them for everything", "for everything"],
)
@pytest.mark.usefixtures("asked")
def test_what_a_function_is_rung_for(rings: list[list[str]], rooms: set[str]) -> None:
    url = wake_queues.ensure(QUEUE)
    wake_queues.ring(url, "an earlier registration", rooms=["!earlier"])
    for named in rings:
        wake_queues.ring(url, "nonce", rooms=named)
    assert wake_queues.wait(url, "nonce", 5) == wake_queues.Heard("ring", frozenset(map(RoomId, rooms)))
