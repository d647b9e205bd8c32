"""Starts the workers: event source mappings of streams, and schedules. Code that queues messages starts the
rest.

A failed batch of a stream is halved until the faulty record is alone. After its attempts that record goes to
the dead letters, and the stream continues. Functions report which records of a batch failed, so the others
aren't repeated.

A queue has no mapping, because Lambda would poll it all the time. Its worker is invoked asynchronously and
takes the messages itself. A failed invocation isn't repeated, and one that waits too long is dropped. The
messages stay in the queue, and a sweep each minute finds them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from aws_cdk import Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_lambda as lambda_

from infra_cdk.modules import facts
from infra_cdk.names import logical_id
from infra_cdk.parts.functions import Deployed
from infra_cdk.parts.policies import Statement, allow, worker_arn
from infra_cdk.parts.queues import Queues
from infra_cdk.settings import Settings
from murmuration.endpoint import Function, Queue, Schedule, Stream

ONE_DAY = 86_400
LONGEST_RING_S = 900
"""How long an invocation of a queue's worker may wait while the maximum number is running."""
Tables = Mapping[str, dynamodb.CfnTable]


def source_statements(
    settings: Settings, functions: Iterable[Function], tables: Tables, queues: Queues
) -> Mapping[str, list[Statement]]:
    """Return the permissions that Lambda needs to read the functions' sources, by module."""
    found: dict[str, list[Statement]] = defaultdict(list)
    for function in functions:
        route = function.route
        if isinstance(route, Stream):
            stream = tables[route.table].attr_stream_arn
            found[function.group] += [
                allow(
                    ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"], [stream]
                ),
                allow(["dynamodb:ListStreams"], ["*"]),
                allow(["sqs:SendMessage"], [queues.dead_letters.attr_arn]),
            ]
        elif isinstance(route, Queue):
            queue = queues.by_name[route.name].attr_arn
            found[function.group] += [
                allow(["sqs:ReceiveMessage", "sqs:DeleteMessage"], [queue]),
                allow(["lambda:InvokeFunction"], [worker_arn(settings, route.name)]),
            ]
    return found


def make_event_sources(stack: Stack, deployed: Deployed, tables: Tables, queues: Queues) -> None:
    for function in deployed.functions:
        route = function.route
        if isinstance(route, Stream):
            _read_stream(stack, deployed, function, route, tables, queues)
        elif isinstance(route, Queue):
            _be_rung(stack, deployed, function)
        elif isinstance(route, Schedule):
            _call_regularly(stack, deployed, function, route)


def _read_stream(
    stack: Stack, deployed: Deployed, function: Function, route: Stream, tables: Tables, queues: Queues
) -> None:
    module = facts(function.group)
    mapping = lambda_.CfnEventSourceMapping(
        stack,
        logical_id("mapping", function.name),
        function_name=deployed.resource(function).ref,
        event_source_arn=tables[route.table].attr_stream_arn,
        starting_position="TRIM_HORIZON",
        batch_size=route.batch_size,
        bisect_batch_on_function_error=True,
        parallelization_factor=module.concurrency,
        maximum_batching_window_in_seconds=route.batch_window or None,
        maximum_retry_attempts=route.maximum_retry_attempts,
        maximum_record_age_in_seconds=ONE_DAY,
        function_response_types=["ReportBatchItemFailures"],
        destination_config=lambda_.CfnEventSourceMapping.DestinationConfigProperty(
            on_failure=lambda_.CfnEventSourceMapping.OnFailureProperty(
                destination=queues.dead_letters.attr_arn
            )
        ),
    )
    mapping.add_resource_dependency(deployed.roles[function.group])


def _be_rung(stack: Stack, deployed: Deployed, function: Function) -> None:
    lambda_.CfnEventInvokeConfig(
        stack,
        logical_id("rings", function.name),
        function_name=deployed.resource(function).ref,
        qualifier="$LATEST",
        maximum_retry_attempts=0,
        maximum_event_age_in_seconds=LONGEST_RING_S,
    )


def _call_regularly(stack: Stack, deployed: Deployed, function: Function, route: Schedule) -> None:
    resource = deployed.resource(function)
    rule = events.CfnRule(
        stack,
        logical_id("schedule", function.name),
        name=deployed.physical_name(function),
        schedule_expression=route.expression,
        targets=[events.CfnRule.TargetProperty(arn=resource.attr_arn, id="function")],
    )
    lambda_.CfnPermission(
        stack,
        logical_id("permission", function.name),
        action="lambda:InvokeFunction",
        function_name=resource.ref,
        principal="events.amazonaws.com",
        source_arn=rule.attr_arn,
    )
