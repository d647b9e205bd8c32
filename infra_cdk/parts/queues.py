"""The SQS queues of the queue functions, and two queues for messages that failed too often (dead letters).

Messages of FIFO queues go to the FIFO one of the two. Those of other queues go to the other one, as do
records of streams and scheduled events. SQS remembers where each came from, so a redrive sends each back to
its own queue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aws_cdk import Stack
from aws_cdk import aws_sqs as sqs

from infra_cdk.modules import facts
from infra_cdk.names import logical_id, queue_name
from infra_cdk.parts.policies import document
from infra_cdk.settings import Settings
from murmuration.endpoint import Function, Queue

FOURTEEN_DAYS = 1_209_600
DEAD_LETTERS = "dead-letters"


@dataclass(frozen=True)
class Queues:
    """The queues by their logical names, and the dead letters."""

    by_name: Mapping[str, sqs.CfnQueue]
    dead_letters: sqs.CfnQueue
    fifo_dead_letters: sqs.CfnQueue
    """It stays even if the server no longer federates and has no other FIFO queue, because it may hold
    letters."""

    def all_dead_letters(self) -> list[sqs.CfnQueue]:
        return [self.dead_letters, self.fifo_dead_letters]


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
    made = Queues(queues, dead, fifo_dead)
    _demand_tls(stack, [*queues.values(), *made.all_dead_letters()])
    return made


def _make_queue(
    stack: Stack,
    settings: Settings,
    name: str,
    *,
    fifo: bool,
    visibility_timeout: int | None = None,
    redrive_policy: Mapping[str, object] | None = None,
) -> sqs.CfnQueue:
    """Make a queue. A FIFO queue's limits and duplicates count by message group, so groups don't hold each
    other up.
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


def _demand_tls(stack: Stack, queues: list[sqs.CfnQueue]) -> None:
    for queue in queues:
        sqs.CfnQueuePolicy(
            stack,
            f"{queue.node.id}Policy",
            queues=[queue.ref],
            policy_document=document(
                [
                    {
                        "Effect": "Deny",
                        "Principal": "*",
                        "Action": "sqs:*",
                        "Resource": queue.attr_arn,
                        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                    }
                ]
            ),
        )
