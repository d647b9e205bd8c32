"""The checks of an AWS account by `murmuration doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError

from murmuration.protocol.identifiers import ServerName
from murmuration.settings import settings
from murmuration.storage.tables import TABLES
from operators import account
from operators.doctor import Finding, Standing
from operators.operating import Server

TOPIC = "arn:aws:sns:eu-north-1:123456789012:murmuration-test-alarms"
CONFIRMED = [f"{TOPIC}:1"]
SERVER = Server("murmuration-test", ServerName("example.org"), "https://example.org")


class Account:
    """An account that answers what it was told; which tables were asked for is checked by their names."""

    def __init__(
        self,
        *,
        concurrency: int = 1_000,
        reserved: int = 160,
        rate: float = 10_000,
        protected: bool = True,
        mail: bool = True,
        subscribed: list[str] | None = None,
    ) -> None:
        self.subscribed = subscribed
        self.concurrency, self.reserved = concurrency, reserved
        self.rate, self.protected, self.mail = rate, protected, mail
        self.asked: list[str] = []

    def __call__(self, _service: str) -> Account:
        return self

    def get_account_settings(self) -> Any:
        return {"AccountLimit": {"ConcurrentExecutions": self.concurrency}}

    def get_function_concurrency(self, FunctionName: str) -> Any:
        assert FunctionName == "murmuration-test-client_server-sync"
        return {"ReservedConcurrentExecutions": self.reserved} if self.reserved else {}

    def get_account(self) -> Any:
        throttle = {"rateLimit": self.rate, "burstLimit": 5_000}
        return {"throttleSettings": throttle, "ProductionAccessEnabled": self.mail}

    def describe_table(self, TableName: str) -> Any:
        self.asked.append(TableName)
        return {"Table": {"DeletionProtectionEnabled": self.protected}}

    def describe_stack_resource(self, StackName: str, LogicalResourceId: str) -> Any:
        assert (StackName, LogicalResourceId) == ("murmuration-test", "AlarmTopic")
        if self.subscribed is None:
            raise ClientError({"Error": {"Code": "ValidationError"}}, "DescribeStackResource")
        return {"StackResourceDetail": {"PhysicalResourceId": TOPIC}}

    def list_subscriptions_by_topic(self, TopicArn: str) -> Any:
        assert TopicArn == TOPIC
        arns = self.subscribed or []
        return {"Subscriptions": [{"Endpoint": "you@example.org", "SubscriptionArn": arn} for arn in arns]}

    def describe_stacks(self, StackName: str) -> Any:
        assert StackName == "murmuration-test"
        return {"Stacks": [{"EnableTerminationProtection": self.protected}]}


@pytest.fixture
def mail_sender(deployment: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MURMURATION_MAIL_SENDER", "noreply@example.org")
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


def found(asked: Account) -> dict[str, Finding]:
    return {finding.subject: finding for finding in account.checks(SERVER, asked)}


@pytest.mark.usefixtures("mail_sender")
def test_an_account_that_is_ready() -> None:
    asked = Account(subscribed=CONFIRMED)
    assert {finding.standing for finding in found(asked).values()} == {Standing.OK}
    assert asked.asked == [f"murmuration-test-{table.name}" for table in TABLES]


@pytest.mark.usefixtures("mail_sender")
def test_a_new_account_is_told_what_to_ask_for() -> None:
    said = found(Account(concurrency=10, rate=1_000, protected=False, mail=False))
    assert {finding.standing for finding in said.values()} == {Standing.WARNING}
    assert "--quota-code L-B99A9384 --desired-value 1000" in said["concurrency"].sentence
    assert "--service-code apigateway" in said["requests"].sentence
    assert '"protected": true' in said["protection"].sentence
    assert "production access" in said["mail"].sentence


@pytest.mark.usefixtures("deployment")
@pytest.mark.parametrize(("subscribed", "standing", "said"), [
    (CONFIRMED, Standing.OK, "sent to you@example.org"),
    (["PendingConfirmation"], Standing.WARNING, "you@example.org hasn't confirmed"),
    ([], Standing.WARNING, f"aws sns subscribe --topic-arn {TOPIC}"),
    (None, Standing.WARNING, "set alarm_email"),
])  # fmt: skip
def test_alarms_that_nobody_hears_of(subscribed: list[str] | None, standing: Standing, said: str) -> None:
    told = found(Account(subscribed=subscribed))["alarms"]
    assert told.standing is standing
    assert said in told.sentence


@pytest.mark.usefixtures("deployment")
def test_an_account_that_has_grown_is_told_to_reserve_parts() -> None:
    said = found(Account(concurrency=2_000, reserved=0))["concurrency"]
    assert said.standing is Standing.WARNING
    assert '"account_concurrency": 2000' in said.sentence
    assert found(Account(concurrency=2_000))["concurrency"].standing is Standing.OK


def test_clients_are_of_the_region_that_other_tools_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert account.make_client("ssm").meta.region_name == "us-east-1"
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert account.make_client("ssm").meta.region_name == "eu-central-1"


@pytest.mark.usefixtures("deployment")
def test_who_may_not_ask_is_told_so() -> None:
    asked = Account()
    refused = ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetAccountSettings")
    with mock.patch.object(Account, "get_account_settings", side_effect=refused):
        said = found(asked)
    assert said["concurrency"].standing is Standing.SKIPPED
    assert "AccessDenied" in said["concurrency"].sentence
    assert said["requests"].standing is Standing.OK


def test_a_server_in_a_folder_has_no_account() -> None:
    local = Server("murmuration-local", ServerName("localhost"), "http://localhost", Path())
    assert list(account.checks(local, Account())) == []
