"""The checks of `murmuration doctor` on the AWS account: quotas, protection, alarms, mail."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

from operators.doctor import Finding, Standing
from operators.operating import PROBE, Server

ENOUGH_CONCURRENCY = 1_000
"""AWS's default quota of concurrent functions. Parts of it are reserved for functions that wait."""
ENOUGH_REQUESTS = 2_000
"""The requests a second that a deployment allows for one method; all APIs of the region together must allow
this."""
RAISE_CONCURRENCY = (
    "aws service-quotas request-service-quota-increase --service-code lambda"
    f" --quota-code L-B99A9384 --desired-value {ENOUGH_CONCURRENCY}"
)
RAISE_REQUESTS = (
    "aws service-quotas request-service-quota-increase --service-code apigateway"
    " --quota-code L-8A5B8E43 --desired-value 10000"
)
Clients = Callable[[str], Any]
"""A function that makes the botocore client of a service."""


def make_client(service: str) -> Any:
    """Return a botocore client with this process's credentials and region.

    Other AWS tools also read the region from AWS_REGION, botocore only from AWS_DEFAULT_REGION.
    """
    from botocore.session import Session

    return Session().create_client(service, region_name=os.environ.get("AWS_REGION"))


def checks(server: Server, clients: Clients = make_client) -> Iterator[Finding]:
    """Yield the results of the checks on the account, one after another; none for a server in a folder."""
    if server.folder is not None:
        return
    for subject, check in (
        ("concurrency", check_concurrency),
        ("requests", check_requests),
        ("protection", check_protection),
        ("alarms", check_alarms),
        ("mail", check_mail),
    ):
        yield _allowed(subject, functools.partial(check, server, clients))


def _allowed(subject: str, check: Callable[[], Finding]) -> Finding:
    """Return the finding of a check. If the operator lacks the permission for it, that is a note, not a
    fault.
    """
    from botocore.exceptions import ClientError

    try:
        return check()
    except ClientError as error:
        code = error.response["Error"]["Code"]
        return Finding(Standing.SKIPPED, subject, f"AWS does not tell: {code}")


def check_concurrency(server: Server, clients: Clients) -> Finding:
    """Check how many functions may run at once in this account and region.

    Also check that functions which clients can occupy for long have reserved concurrency.
    """
    client = clients("lambda")
    limit = int(client.get_account_settings()["AccountLimit"]["ConcurrentExecutions"])
    said = f"{limit} functions may run at once"
    if limit < ENOUGH_CONCURRENCY:
        return Finding(Standing.WARNING, "concurrency", f"{said}: ask for more by `{RAISE_CONCURRENCY}`")
    part = client.get_function_concurrency(FunctionName=f"{server.prefix}-{PROBE}")
    if not part.get("ReservedConcurrentExecutions"):
        setting = f'put "account_concurrency": {limit} into the context of cdk.json, and deploy once more'
        return Finding(Standing.WARNING, "concurrency", f"{said}, and callers may occupy all: {setting}")
    return Finding(Standing.OK, "concurrency", said)


def check_requests(_server: Server, clients: Clients) -> Finding:
    """Check how many requests a second all APIs of this account and region accept."""
    limit = clients("apigateway").get_account().get("throttleSettings", {})
    rate, burst = float(limit.get("rateLimit", 0)), int(limit.get("burstLimit", 0))
    if rate < ENOUGH_REQUESTS:
        said = f"the account's APIs take {rate:.0f} requests a second: ask for more by"
        return Finding(Standing.WARNING, "requests", f"{said} `{RAISE_REQUESTS}`")
    return Finding(Standing.OK, "requests", f"{rate:.0f} a second, {burst} at once")


def check_protection(server: Server, clients: Clients) -> Finding:
    """Check that the tables and the stack are protected against accidental deletion, as deployed."""
    from murmuration.storage.tables import TABLES

    dynamodb, cloudformation = clients("dynamodb"), clients("cloudformation")
    open_tables = [
        table.name
        for table in TABLES
        if not dynamodb.describe_table(TableName=f"{server.prefix}-{table.name}")["Table"].get(
            "DeletionProtectionEnabled"
        )
    ]
    (stack,) = cloudformation.describe_stacks(StackName=server.prefix)["Stacks"]
    if open_tables or not stack.get("EnableTerminationProtection"):
        what = "tables and stack" if open_tables else "the stack"
        said = f'{what} can be deleted by mistake: put "protected": true into the context of cdk.json'
        return Finding(Standing.WARNING, "protection", f"{said}, and deploy once more")
    return Finding(Standing.OK, "protection", "AWS refuses to delete tables and stack")


def check_alarms(server: Server, clients: Clients) -> Finding:
    """Check that the operator gets alarms: AWS sends them to an address only after it was confirmed."""
    from botocore.exceptions import ClientError

    try:
        resource = clients("cloudformation").describe_stack_resource(
            StackName=server.prefix, LogicalResourceId="AlarmTopic"
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        return Finding(Standing.WARNING, "alarms", "nobody receives them: set alarm_email")
    topic = resource["StackResourceDetail"]["PhysicalResourceId"]
    subscriptions = clients("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    confirmed = [each["Endpoint"] for each in subscriptions if each["SubscriptionArn"].startswith("arn:")]
    if confirmed:
        return Finding(Standing.OK, "alarms", f"sent to {', '.join(confirmed)}")
    if subscriptions:
        said = f"{subscriptions[0]['Endpoint']} hasn't confirmed yet: follow the link in AWS's mail"
    else:
        command = f"aws sns subscribe --topic-arn {topic} --protocol email --notification-endpoint ADDRESS"
        said = f"nobody has confirmed in time, or is still subscribed: `{command}`"
    return Finding(Standing.WARNING, "alarms", said)


def check_mail(_server: Server, clients: Clients) -> Finding:
    """Check that SES may send to any address: for a new account it sends to verified addresses only."""
    from murmuration.settings import settings

    if not settings().mail_sender:
        return Finding(Standing.SKIPPED, "mail", "no mail_sender is set")
    if not clients("sesv2").get_account().get("ProductionAccessEnabled"):
        return Finding(
            Standing.WARNING, "mail", "SES sends to verified addresses only: request production access"
        )
    return Finding(Standing.OK, "mail", f"sent as {settings().mail_sender}")
