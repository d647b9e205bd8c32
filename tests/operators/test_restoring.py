"""`murmuration restore`: into moto's DynamoDB, whose restored tables have what moto copies of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from moto import mock_aws

from murmuration.storage.tables import TABLES
from operators.cli import main
from operators.restoring import RESTORED, NotRestorable, restore

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
SOURCE, TARGET = "murmuration-prod", "murmuration-back"


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yield an account with a deployment's tables and key; clients by the service's name."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "nobody's")
    for name in [name for name in os.environ if name.startswith("AWS_ENDPOINT_URL")]:
        monkeypatch.delenv(name)  # the database of other tests
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    with mock_aws():
        dynamodb = boto3.client("dynamodb")
        for table in TABLES:
            request = table.create_request(f"{SOURCE}-{table.name}")
            request.pop("StreamSpecification", None)
            dynamodb.create_table(**request)
            dynamodb.update_continuous_backups(
                TableName=f"{SOURCE}-{table.name}",
                PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
            )
        boto3.client("ssm").put_parameter(
            Name=f"/{SOURCE}/signing-key", Value="ed25519 a_1 c2VlZA", Type="SecureString"
        )
        yield boto3.client


class Interrupted(Exception):
    pass


class Failing:
    """DynamoDB's client that fails at a call, as a connection that breaks; it counts the restorations."""

    def __init__(self, client: Any, *, fail_at: int | None = None) -> None:
        self._client, self._left, self.restored = client, fail_at, 0

    def __getattr__(self, name: str) -> Any:
        if name in ("exceptions", "get_waiter"):
            return getattr(self._client, name)

        def call(**arguments: Any) -> Any:
            if self._left is not None:
                self._left -= 1
                if self._left < 0:
                    raise Interrupted
            self.restored += name == "restore_table_to_point_in_time"
            answer = getattr(self._client, name)(**arguments)
            if name == "describe_table" and (summary := answer["Table"].get("RestoreSummary")):
                summary["RestoreDateTime"] = AT  # moto has the time of the restoration there
            return answer

        return call


def clients(account: Any, dynamodb: Failing) -> Any:
    return lambda service: dynamodb if service == "dynamodb" else account(service)


def check(account: Any) -> None:
    """Check that everything was restored."""
    dynamodb = account("dynamodb")
    for table in RESTORED:
        found = dynamodb.describe_table(TableName=f"{TARGET}-{table.name}")["Table"]
        assert found["DeletionProtectionEnabled"] is True
        assert bool(found.get("StreamSpecification", {}).get("StreamEnabled")) is table.streams
        expiry = dynamodb.describe_time_to_live(TableName=found["TableName"])["TimeToLiveDescription"]
        assert expiry.get("AttributeName") == table.ttl
        backups = dynamodb.describe_continuous_backups(TableName=found["TableName"])
        status = backups["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
        assert status["PointInTimeRecoveryStatus"] == "ENABLED"
    key = account("ssm").get_parameter(Name=f"/{TARGET}/signing-key", WithDecryption=True)["Parameter"]
    assert (key["Value"], key["Type"]) == ("ed25519 a_1 c2VlZA", "SecureString")


def test_what_is_kept_is_restored(account: Any) -> None:
    lost = {table.name for table in TABLES} - {table.name for table in RESTORED}
    assert lost == {"sync-tokens", "listeners", "connections", "transient", "parked", "clock"}, (
        "what users uploaded is in a table with an expiry, too"
    )
    said: list[str] = []
    restore(SOURCE, TARGET, AT, clients(account, Failing(account("dynamodb"))), said.append)
    check(account)
    assert len(said) == 2 * len(RESTORED) + 1


@pytest.mark.parametrize("fail_at", [*range(1, 24), 25, 30, 36, 45])
def test_a_restoration_continues_where_it_was_interrupted(account: Any, fail_at: int) -> None:
    first = Failing(account("dynamodb"), fail_at=fail_at)
    with pytest.raises(Interrupted):
        restore(SOURCE, TARGET, AT, clients(account, first), lambda _: None)
    second = Failing(account("dynamodb"))
    restore(SOURCE, TARGET, AT, clients(account, second), lambda _: None)
    assert first.restored + second.restored == len(RESTORED)
    check(account)


def test_a_restoration_waits_until_backups_of_the_restored_table_can_be_turned_on(
    account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dynamodb = account("dynamodb")
    paused: list[float] = []
    unavailable = dynamodb.exceptions.ContinuousBackupsUnavailableException({"Error": {}}, "operation")
    genuine = dynamodb.update_continuous_backups

    def refuse_twice(**arguments: Any) -> Any:
        if len(paused) < 2:
            raise unavailable
        return genuine(**arguments)

    monkeypatch.setattr("operators.restoring.time.sleep", paused.append)
    monkeypatch.setattr(dynamodb, "update_continuous_backups", refuse_twice)
    restore(SOURCE, TARGET, AT, clients(account, Failing(dynamodb)), lambda _: None)
    assert len(paused) == 2
    check(account)


def test_a_table_of_another_time_is_not_taken_for_restored(account: Any) -> None:
    dynamodb = account("dynamodb")
    dynamodb.create_table(**RESTORED[-1].create_request(f"{TARGET}-{RESTORED[-1].name}"))
    with pytest.raises(NotRestorable, match="not restored"):
        restore(SOURCE, TARGET, AT, account, lambda _: None)


def test_another_servers_key_is_left_alone(account: Any) -> None:
    name = f"/{TARGET}/signing-key"
    account("ssm").put_parameter(Name=name, Value="another", Type="SecureString")
    with pytest.raises(NotRestorable, match="another key"):
        restore(SOURCE, TARGET, AT, clients(account, Failing(account("dynamodb"))), lambda _: None)
    assert account("ssm").get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"] == "another"


def test_what_the_operator_put_into_ssm_is_copied_too(account: Any) -> None:
    """Without these secrets nobody could log in by a provider, or call by TURN. Secrets that each deployment
    makes aren't copied.
    """
    ssm = account("ssm")
    for name in ("turn-secret", "identity-provider-acme", "viewer-secret", "queue-secret"):
        ssm.put_parameter(Name=f"/{SOURCE}/{name}", Value=f"the {name}", Type="SecureString")
    ssm.put_parameter(Name=f"/{TARGET}/turn-secret", Value="another", Type="SecureString")
    said: list[str] = []
    for _ in range(2):
        restore(SOURCE, TARGET, AT, clients(account, Failing(account("dynamodb"))), said.append)
    check(account)
    found = ssm.get_parameters_by_path(Path=f"/{TARGET}", Recursive=True, WithDecryption=True)["Parameters"]
    assert {each["Name"].rpartition("/")[2]: each["Value"] for each in found} == {
        "signing-key": "ed25519 a_1 c2VlZA",
        "turn-secret": "another",
        "identity-provider-acme": "the identity-provider-acme",
    }
    assert {each["Type"] for each in found} == {"SecureString"}
    assert "the secret identity-provider-acme is copied" in said


def test_who_lost_the_key_is_told_to_put_it_back(account: Any) -> None:
    account("ssm").delete_parameter(Name=f"/{SOURCE}/signing-key")
    with pytest.raises(NotRestorable, match="put your copy there"):
        restore(SOURCE, TARGET, AT, clients(account, Failing(account("dynamodb"))), lambda _: None)


@pytest.mark.parametrize(("error", "said"), [
    ("TableNotFoundException", "there is no table murmuration-prod-"),
    ("PointInTimeRecoveryUnavailableException", "keeps no past of murmuration-prod-"),
    ("InvalidRestoreTimeException", "at 2026-11-20T12:00:00Z: choose a time from 20"),
])  # fmt: skip
def test_what_no_repetition_mends_is_said_plainly(
    account: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: str, said: str
) -> None:
    dynamodb = account("dynamodb")

    def refuse(**_: Any) -> None:
        raise getattr(dynamodb.exceptions, error)({"Error": {"Code": error}}, "RestoreTableToPointInTime")

    monkeypatch.setattr(dynamodb, "restore_table_to_point_in_time", refuse)
    monkeypatch.setattr("operators.account.make_client", lambda service: dynamodb)
    assert main(["restore", "--at", "2026-11-20T12:00:00Z", "--stage", "back"]) == 2
    found = capsys.readouterr().err
    assert said in found
    assert "Run the same command again" not in found


def test_who_interrupts_it_is_told_how_to_go_on(
    account: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_service: str) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("operators.account.make_client", interrupted)
    assert main(["restore", "--at", "2026-11-20T12:00:00Z", "--stage", "back"]) == 130
    assert "Run the same command again" in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["Back", "a" * 17, "murmuration-back!"])
def test_a_stage_that_can_not_be_deployed_is_refused(account: Any, stage: str) -> None:
    with pytest.raises(SystemExit):
        main(["restore", "--at", "2026-11-20T12:00:00Z", "--stage", stage])


def test_a_deployment_is_not_restored_over_itself(account: Any) -> None:
    assert main(["restore", "--at", "2026-11-20T12:00:00Z", "--stage", "prod"]) == 2


@pytest.mark.parametrize("at", ["yesterday", "2026-11-20T12:00:00"])
def test_a_time_without_a_zone_is_refused(at: str) -> None:
    with pytest.raises(SystemExit):
        main(["restore", "--at", at, "--stage", "back"])
