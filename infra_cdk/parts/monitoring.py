"""Monitoring for the operator: a dashboard, and at most ten alarms, because ten are free of charge."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aws_cdk import Fn, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns

from infra_cdk.names import function_name, global_name, logical_id, queue_name
from infra_cdk.parts.api import STAGE
from infra_cdk.parts.functions import DeploymentError
from infra_cdk.parts.queues import DEAD_LETTERS
from infra_cdk.settings import Settings
from murmuration.endpoint import Function, Queue, Stream

MOST_ALARMS = 10
AGES = ("outbound", "room-pdus")
"""The queues whose oldest message may be an hour old."""
UNWATCHED = ("clock",)
"""The streams whose lag has no alarm: if the clock is late, a sweep rings the workers each minute."""
LOGGED = "Murmuration"
"""The namespace of the errors that functions log, counted under the deployment's prefix."""
PROBE = "client_server-send_message"
"""The function whose duration shows the health of the server; the API's duration mostly shows how long
clients wait."""


@dataclass(frozen=True)
class Alarm:
    """An alarm on a metric's `statistic` over `minutes`, if it is above `threshold`."""

    name: str
    why: str
    namespace: str
    metric: str
    statistic: str
    threshold: float
    dimensions: Mapping[str, str] = field(default_factory=dict)
    minutes: int = 5
    periods: int = 1


def alarms(settings: Settings, functions: Sequence[Function]) -> list[Alarm]:
    """Return the alarms. Raises DeploymentError if there would be more than are free."""
    dead = [("dead-letters", False), ("dead-letters-fifo", True)]
    found = [
        Alarm(
            name,
            "Work was given up. Read the messages, then redrive the queue.",
            "AWS/SQS",
            "ApproximateNumberOfMessagesVisible",
            "Maximum",
            0,
            {"QueueName": queue_name(settings, DEAD_LETTERS, fifo)},
        )
        for name, fifo in dead
    ]
    found += [
        _api_errors(settings),
        Alarm("throttles", "The account's concurrency is used up.", "AWS/Lambda", "Throttles", "Sum", 10),
        Alarm("lambda-errors", "Functions fail, or time out.", "AWS/Lambda", "Errors", "Sum", 5),
    ]
    for function in functions:
        dimensions = {"FunctionName": function_name(settings, function)}
        if function.name == PROBE:
            why = "Sending a message takes long."
            found.append(Alarm("slow", why, "AWS/Lambda", "Duration", "p50", 5000, dimensions, periods=3))
        elif isinstance(function.route, Stream) and function.route.table not in UNWATCHED:
            found.append(
                Alarm(
                    f"{function.name}-behind",
                    "A stream's worker lags: waiting clients hear late.",
                    "AWS/Lambda",
                    "IteratorAge",
                    "Maximum",
                    60_000,
                    dimensions,
                )
            )
        elif isinstance(function.route, Queue) and function.route.name in AGES:
            found.append(
                Alarm(
                    f"{function.route.name}-behind",
                    "A queue's worker lags: other servers hear late, or are heard late.",
                    "AWS/SQS",
                    "ApproximateAgeOfOldestMessage",
                    "Maximum",
                    3_600,
                    {"QueueName": queue_name(settings, function.route.name, function.route.fifo)},
                )
            )
    if len(found) > MOST_ALARMS:
        raise DeploymentError(
            f"{len(found)} alarms, and {MOST_ALARMS} are free: choose in infra_cdk/parts/monitoring.py"
        )
    return found


def _api_errors(settings: Settings) -> Alarm:
    """Return the alarm on requests that fail.

    REST APIs are counted by name, and all of ours have one name. HTTP APIs are counted by ID, so for them the
    errors that functions log are counted instead.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html
    """
    why = "Requests fail: search the log."
    if settings.api == "http":
        return Alarm("api-errors", why, LOGGED, settings.prefix, "Sum", 5)
    dimensions = {"ApiName": settings.prefix, "Stage": STAGE}
    return Alarm("api-errors", why, "AWS/ApiGateway", "5XXError", "Sum", 5, dimensions)


def _count_logged_errors(stack: Stack, settings: Settings, log_group: logs.CfnLogGroup) -> None:
    logs.CfnMetricFilter(
        stack,
        "LoggedErrors",
        log_group_name=log_group.ref,
        filter_pattern='{ $.level = "ERROR" }',
        metric_transformations=[
            logs.CfnMetricFilter.MetricTransformationProperty(
                metric_namespace=LOGGED, metric_name=settings.prefix, metric_value="1", default_value=0
            )
        ],
    )


def make_monitoring(
    stack: Stack,
    settings: Settings,
    functions: Sequence[Function],
    log_group: logs.CfnLogGroup,
) -> None:
    """Make the alarms, the topic to which they are sent, and the dashboard, for the functions of all
    stacks.
    """
    topic = _make_topic(stack, settings)
    chosen = alarms(settings, functions)
    if settings.api == "http":
        _count_logged_errors(stack, settings, log_group)
    for alarm in chosen:
        cloudwatch.CfnAlarm(
            stack,
            logical_id("alarm", alarm.name),
            alarm_name=f"{settings.prefix}-{alarm.name}",
            alarm_description=alarm.why,
            namespace=alarm.namespace,
            metric_name=alarm.metric,
            dimensions=[
                cloudwatch.CfnAlarm.DimensionProperty(name=name, value=value)
                for name, value in alarm.dimensions.items()
            ],
            period=60 * alarm.minutes,
            evaluation_periods=alarm.periods,
            threshold=alarm.threshold,
            comparison_operator="GreaterThanThreshold",
            treat_missing_data="notBreaching",
            alarm_actions=[topic.ref] if topic else None,
            ok_actions=[topic.ref] if topic else None,
            **_statistic(alarm.statistic),
        )
    cloudwatch.CfnDashboard(
        stack,
        "Dashboard",
        dashboard_name=global_name(settings, "overview"),
        dashboard_body=Fn.sub(json.dumps(_dashboard(settings, functions), separators=(",", ":"))),
    )


def _requests(settings: Settings) -> list[Any]:
    """Return the metrics for the graph of requests: how many there are, and how many fail."""
    if settings.api == "rest":
        api = ["ApiName", settings.prefix, "Stage", STAGE]
        return [["AWS/ApiGateway", name, *api] for name in ("Count", "4XXError", "5XXError")]
    search = "SUM(SEARCH('{AWS/ApiGateway,ApiId} MetricName=\"%s\"', 'Sum', 300))"
    return [
        [{"expression": search % name, "id": f"m{place}", "label": name}]
        for place, name in enumerate(("Count", "4xx", "5xx"))
    ]


def _statistic(name: str) -> Any:
    return {"extended_statistic": name} if name.startswith("p") else {"statistic": name}


def _make_topic(stack: Stack, settings: Settings) -> sns.CfnTopic | None:
    """Make the topic that mails alarms to the operator; None if the settings have no mail address."""
    if not settings.alarm_email:
        return None
    return sns.CfnTopic(
        stack,
        "AlarmTopic",
        topic_name=f"{settings.prefix}-alarms",
        subscription=[sns.CfnTopic.SubscriptionProperty(protocol="email", endpoint=settings.alarm_email)],
    )


def _dashboard(settings: Settings, functions: Sequence[Function]) -> dict[str, Any]:
    """Return the dashboard, with a graph each for requests, functions, workers and the database."""
    workers: list[Any] = []
    durations: list[Any] = []
    for function in functions:
        name = function_name(settings, function)
        if function.name == PROBE:
            durations += [
                ["AWS/Lambda", "Duration", "FunctionName", name, {"stat": stat}]
                for stat in ("p50", "p95", "p99")
            ]
        elif isinstance(function.route, Stream):
            workers.append(["AWS/Lambda", "IteratorAge", "FunctionName", name, {"stat": "Maximum"}])
        elif isinstance(function.route, Queue):
            queue = queue_name(settings, function.route.name, function.route.fifo)
            workers.append(
                ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", queue, {"stat": "Maximum"}]
            )
    database = (
        f"SEARCH('{{AWS/DynamoDB,TableName}} MetricName=\"%s\" TableName=\"{settings.prefix}-\"', 'Sum', 300)"
    )
    graphs: list[tuple[str, Sequence[Any]]] = [
        ("Requests", _requests(settings)),
        ("Sending a message", durations),
        ("Functions", [["AWS/Lambda", name] for name in ("Invocations", "Errors", "Throttles")]),
        ("Workers: how far behind", workers),
        ("Database: read units", [[{"expression": database % "ConsumedReadCapacityUnits", "id": "r"}]]),
        ("Database: write units", [[{"expression": database % "ConsumedWriteCapacityUnits", "id": "w"}]]),
    ]
    return {
        "widgets": [
            {
                "type": "metric",
                "x": 12 * (place % 2),
                "y": 6 * (place // 2),
                "width": 12,
                "height": 6,
                "properties": {
                    "title": title,
                    "metrics": metrics,
                    "stat": "Sum",
                    "period": 300,
                    "region": "${AWS::Region}",
                },
            }
            for place, (title, metrics) in enumerate(graph for graph in graphs if graph[1])
        ]
    }
