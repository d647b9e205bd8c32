"""The SQS queues of the queue functions, and two queues for messages that failed too often (dead letters).

Messages of FIFO queues go to the FIFO one of the two. Those of other queues go to the other one, as do
records of streams and scheduled events. SQS remembers where each came from, so a redrive sends each back to
its own queue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from aws_cdk import Aws, Stack
from aws_cdk import aws_sqs as sqs

from infra_cdk.modules import facts
from infra_cdk.names import logical_id, queue_name
from infra_cdk.parts.policies import Statement, document
from infra_cdk.settings import Settings
from murmuration.endpoint import Function, Queue

FOURTEEN_DAYS = 1_209_600
DEAD_LETTERS = "dead-letters"
INCOMING = "incoming-uploads"
"""The queue to which the bucket reports the objects that CloudFront stored in it."""


@dataclass(frozen=True)
class Queues:
    """The queues by their logical names, and the dead letters. `incoming_policy` lets the bucket send."""

    by_name: Mapping[str, sqs.CfnQueue]
    dead_letters: sqs.CfnQueue
    fifo_dead_letters: sqs.CfnQueue
    """This queue stays even if the server no longer federates and has no other FIFO queue, because it may
    hold letters."""
    incoming_policy: sqs.CfnQueuePolicy | None = None


def queue_functions(functions: Iterable[Function]) -> list[tuple[Function, Queue]]:
    return [(function, function.route) for function in functions if isinstance(function.route, Queue)]


def fifo_names(functions: Iterable[Function]) -> set[str]:
    """Return the logical names of the FIFO queues."""
    return {route.name for _, route in queue_functions(functions) if route.fifo}


def make_queues(stack: Stack, settings: Settings, functions: Iterable[Function]) -> Queues:
    found = queue_functions(functions)
    dead = _make_queue(stack, settings, DEAD_LETTERS, fifo=False)
    fifo_dead = _make_queue(stack, settings, DEAD_LETTERS, fifo=True)
    queues = {}
    for function, route in found:
        target = fifo_dead if route.fifo else dead
        module = facts(function.group)
        queues[route.name] = _make_queue(
            stack,
            settings,
            route.name,
            fifo=route.fifo,
            visibility_timeout=module.visibility or 6 * module.timeout,
            redrive_policy={"deadLetterTargetArn": target.attr_arn, "maxReceiveCount": module.attempts},
        )
    incoming = _make_policy(stack, queues[INCOMING], _from_bucket) if INCOMING in queues else None
    for queue in [*(queues[name] for name in queues if name != INCOMING), dead, fifo_dead]:
        _make_policy(stack, queue)
    return Queues(queues, dead, fifo_dead, incoming)


def _make_queue(
    stack: Stack,
    settings: Settings,
    name: str,
    *,
    fifo: bool,
    visibility_timeout: int | None = None,
    redrive_policy: Mapping[str, object] | None = None,
) -> sqs.CfnQueue:
    """Make a queue. A FIFO queue's limits and duplicates count for each message group, so groups don't delay
    each other.
    """
    queue = sqs.CfnQueue(
        stack,
        logical_id("queue", name, *(["fifo"] if fifo and name == DEAD_LETTERS else [])),
        queue_name=queue_name(settings, name, fifo),
        message_retention_period=FOURTEEN_DAYS,
        sqs_managed_sse_enabled=True,
        visibility_timeout=visibility_timeout,
        redrive_policy=redrive_policy,
    )
    if fifo:
        queue.fifo_queue = True
        queue.content_based_deduplication = True
        queue.deduplication_scope = "messageGroup"
        queue.fifo_throughput_limit = "perMessageGroupId"
    return queue


def _make_policy(
    stack: Stack, queue: sqs.CfnQueue, more: Callable[[sqs.CfnQueue], Statement] | None = None
) -> sqs.CfnQueuePolicy:
    """Make a queue's policy: it requires TLS, and has the statement that `more` returns."""
    demand: Statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sqs:*",
        "Resource": queue.attr_arn,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return sqs.CfnQueuePolicy(
        stack,
        f"{queue.node.id}Policy",
        queues=[queue.ref],
        policy_document=document([demand, *([more(queue)] if more else [])]),
    )


def _from_bucket(queue: sqs.CfnQueue) -> Statement:
    """Return the statement that lets this account's buckets queue events.

    The bucket isn't named, because it is made after the queue and CloudFormation generates its name.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/grant-destinations-permissions-to-s3.html
    """
    return {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue.attr_arn,
        "Condition": {
            "ArnLike": {"aws:SourceArn": "arn:aws:s3:::*"},
            "StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID},
        },
    }
