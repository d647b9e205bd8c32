"""The simulated CloudFormation rolls back a failed stack and deletes a stack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import boto3
import pytest

from infra_cdk.rehearsal import __main__ as rehearsal
from infra_cdk.rehearsal import models
from infra_cdk.rehearsal.cloud import REGION


def table(policy: str, **more: Any) -> Mapping[str, Any]:
    properties = {
        "TableName": "kept",
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        **more,
    }
    return {"Type": "AWS::DynamoDB::Table", "DeletionPolicy": policy, "Properties": properties}


def make_stack(cloudformation: Any, *, fails: bool, **resources: Any) -> str:
    """Create a stack, and return its status. A stack that must fail has a function that is refused."""
    function: dict[str, Any] = {"FunctionName": "refused", "Role": "arn:aws:iam::123456789012:role/none"}
    boto3.client("ssm", region_name=REGION).put_parameter(
        Name=models.REFUSED, Value="refused" if fails else "none", Type="String", Overwrite=True
    )
    if fails:
        resources["Function"] = {
            "Type": "AWS::Lambda::Function",
            "DependsOn": list(resources),
            "Properties": function,
        }
    outputs = {"Kept": {"Value": {"Ref": "Kept"}}}
    template = {"Resources": resources, "Outputs": outputs}
    cloudformation.create_stack(StackName="stack", TemplateBody=json.dumps(template))
    return str(cloudformation.describe_stacks(StackName="stack")["Stacks"][0]["StackStatus"])


def tables() -> list[str]:
    return list(boto3.client("dynamodb", region_name=REGION).list_tables()["TableNames"])


def test_a_stack_that_fails_leaves_nothing_and_can_be_made_again(cloudformation: Any) -> None:
    kept = table("RetainExceptOnCreate")
    assert make_stack(cloudformation, fails=True, Kept=kept) == "ROLLBACK_COMPLETE"
    assert tables() == []
    cloudformation.delete_stack(StackName="stack")
    assert make_stack(cloudformation, fails=False, Kept=kept) == "CREATE_COMPLETE"
    cloudformation.delete_stack(StackName="stack")
    assert tables() == ["kept"], "what stood outlives its stack"


def test_what_is_always_retained_is_in_the_next_attempts_way(cloudformation: Any) -> None:
    assert make_stack(cloudformation, fails=True, Kept=table("Retain")) == "ROLLBACK_COMPLETE"
    assert tables() == ["kept"]


def test_what_is_protected_can_not_be_taken_back(cloudformation: Any) -> None:
    protected = table("RetainExceptOnCreate", DeletionProtectionEnabled=True)
    assert make_stack(cloudformation, fails=True, Kept=protected) == "ROLLBACK_FAILED"
    assert tables() == ["kept"]


def test_what_an_update_took_away_can_be_made_again(cloudformation: Any) -> None:
    make_stack(cloudformation, fails=False, Kept=table("Delete"))
    topic = {"Other": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "other"}}}
    for resources, left in ((topic, []), ({**topic, "Kept": table("Delete")}, ["kept"])):
        cloudformation.update_stack(StackName="stack", TemplateBody=json.dumps({"Resources": resources}))
        assert tables() == left


def test_the_rehearsal_waits_for_a_deletion_that_goes_on_after_the_cdk_left() -> None:
    left = [["a-table", "a-function"], ["a-table"], []]
    paused: list[float] = []
    rehearsal._wait_until_gone(lambda: left.pop(0), paused.append)
    assert (left, paused) == ([], [1, 1])


def test_what_stays_fails_the_rehearsal() -> None:
    with pytest.raises(rehearsal.Wrong, match="a-table"):
        rehearsal._wait_until_gone(lambda: ["a-table"], lambda _: None)
