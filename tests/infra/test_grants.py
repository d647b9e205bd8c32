"""The grants that requests need and those that policies give have the same names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from infra_cdk.parts.policies import Resources
from infra_cdk.settings import read_settings
from infra_shared import grants
from infra_shared.grants import GRANTS, Grant, allows, covers
from infra_shared.needs import ACTIONS, Need, UnknownRequest, needs
from murmuration.storage.tables import TABLES

PREFIX = "murmuration-test"
TABLE = f"{PREFIX}-rooms"


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "needed"),
    [
        ("dynamodb", "GetItem", {"TableName": TABLE}, [("tables", "rooms", "get")]),
        (
            "dynamodb",
            "Query",
            {"TableName": TABLE, "IndexName": "by-seq"},
            [("tables", "rooms/by-seq", "query")],
        ),
        (
            "dynamodb",
            "BatchGetItem",
            {"RequestItems": {TABLE: {}, f"{PREFIX}-users": {}}},
            [("tables", "rooms", "batch_get"), ("tables", "users", "batch_get")],
        ),
        (
            "dynamodb",
            "TransactWriteItems",
            {"TransactItems": [{"Put": {"TableName": TABLE}}, {"ConditionCheck": {"TableName": TABLE}}]},
            [("tables", "rooms", "put"), ("tables", "rooms", "check")],
        ),
        (
            "sqs",
            "SendMessage",
            {"QueueUrl": f"https://sqs.eu-central-1.amazonaws.com/1/{PREFIX}-out.fifo"},
            [("queues", "out", "send")],
        ),
        ("sqs", "CreateQueue", {"QueueName": f"{PREFIX}-wake-1"}, [("queues", "wake-1", "create")]),
        ("s3", "GetObject", {"Bucket": "b", "Key": "media/a/b"}, [("objects", "media/*", "get")]),
        (
            "s3",
            "DeleteObjects",
            {"Delete": {"Objects": [{"Key": "media/a"}, {"Key": "thumbnail/b"}]}},
            [("objects", "media/*", "delete"), ("objects", "thumbnail/*", "delete")],
        ),
        ("ssm", "GetParameter", {"Name": f"/{PREFIX}/signing-key"}, [("secrets", "signing-key", "get")]),
        ("sesv2", "SendEmail", {}, [("mail", "*", "send")]),
        ("apigatewaymanagementapi", "PostToConnection", {}, [("sockets", "*", "manage")]),
    ],
)
def test_what_requests_need(
    service: str, operation: str, parameters: Mapping[str, Any], needed: list[tuple[str, str, str]]
) -> None:
    found = list(needs(service, operation, parameters, PREFIX))
    assert found == [Need(*need) for need in needed]
    assert all(need.action in ACTIONS[need.kind] for need in found)


def test_a_request_that_no_word_covers_is_not_passed_over() -> None:
    for service, operation in (("dynamodb", "DeleteTable"), ("s3", "DeleteBucket"), ("sts", "AssumeRole")):
        with pytest.raises(UnknownRequest):
            list(needs(service, operation, {}, PREFIX))


def test_covers_is_exact_but_for_a_star() -> None:
    queue = Need("queues", "wake-*", "send")
    assert covers(queue, Need("queues", "wake-abc", "send"))
    assert not covers(queue, Need("queues", "wake-abc", "receive"))
    assert not covers(queue, Need("queues", "other", "send"))
    assert not covers(Need("tables", "rooms", "get"), Need("tables", "rooms/by-seq", "get"))


def test_what_is_not_granted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grants, "GRANTS", {"a.b": Grant(tables={"rooms": "get put"})})
    assert allows("a.b", Need("tables", "rooms", "put"))
    assert not allows("a.b", Need("tables", "rooms", "delete"))
    assert not allows("a.c", Need("tables", "rooms", "get"))


def test_the_table_has_known_words_only() -> None:
    tables = {table.name for table in TABLES}
    indexes = {f"{table.name}/{index.Meta.index_name}" for table in TABLES for index in table.indexes}
    for module, grant in GRANTS.items():
        for need in grant.needs():
            assert need.action in ACTIONS[need.kind], f"{module}: {need}"
            if need.kind == "tables":
                assert need.resource in tables | indexes, f"{module}: {need}"


def test_policies_say_what_grants_say() -> None:
    settings = read_settings({"server_name": "example.org", "stage": "x", "mail_sender": "a@example.org"})
    resources = Resources(settings, {"out"}, "BUCKET", "SOCKETS")
    grant = Grant(
        tables={"rooms": "get put", "streams/by-seq": "query"},
        queues={"out": "send", "wake-*": "send"},
        objects={"media/*": "get list"},
        secrets={"signing-key": "get"},
        mail={"*": "send"},
        sockets={"*": "manage"},
    )

    def name_of(resource: Any) -> str:
        return str(
            resource if isinstance(resource, str) else resource["Fn::Sub"].split("${AWS::AccountId}:")[1]
        )

    allowed = {
        (action, name_of(resource))
        for statement in resources.statements(grant)
        for action in statement["Action"]
        for resource in statement["Resource"]
    }
    assert allowed == {
        ("dynamodb:GetItem", "table/murmuration-x-rooms"),
        ("dynamodb:PutItem", "table/murmuration-x-rooms"),
        ("dynamodb:Query", "table/murmuration-x-streams/index/by-seq"),
        ("sqs:SendMessage", "murmuration-x-out.fifo"),
        ("sqs:SendMessage", "murmuration-x-wake-*"),
        ("s3:GetObject", "BUCKET/media/*"),
        ("s3:ListBucket", "BUCKET"),
        ("ssm:GetParameter", "parameter/murmuration-x/signing-key"),
        ("ses:SendEmail", "identity/a@example.org"),
        ("ses:SendRawEmail", "identity/a@example.org"),
        ("ses:SendEmail", "identity/example.org"),
        ("ses:SendRawEmail", "identity/example.org"),
        ("execute-api:ManageConnections", "SOCKETS"),
    }


def test_who_appends_events_may_bring_a_rooms_state_home_first() -> None:
    """Few tests leave a room's state unsettled, and any function that appends must be able to settle it."""
    wanted = [Need("tables", "rooms", action) for action in ("check", "get", "put", "update")]
    appended = [Need("tables", "room-log", "put"), Need("tables", "events", "put")]
    lacking = [
        (module, need)
        for module in GRANTS
        if all(allows(module, each) for each in appended)
        for need in wanted
        if not allows(module, need)
    ]
    assert not lacking
