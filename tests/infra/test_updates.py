"""The simulated CloudFormation updates stacks."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest

from infra_cdk.rehearsal import models
from infra_cdk.rehearsal.cloud import REGION
from infra_cdk.rehearsal.custom_resource import CustomResource

REFUSED = {
    "Type": "AWS::Lambda::Function",
    "Properties": {"FunctionName": "refused", "Role": "arn:aws:iam::123456789012:role/none"},
}


@pytest.fixture
def account(cloudformation: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The client of an account in which one function can't be made, and custom resources tell what they are
    given.
    """
    parameter = {"Name": models.REFUSED, "Value": "refused", "Type": "String"}
    boto3.client("ssm", region_name=REGION).put_parameter(**parameter)
    monkeypatch.setattr(CustomResource, "_call", lambda self, _: setattr(self, "data", self.properties))
    return cloudformation


def topic(name: Any) -> dict[str, Any]:
    return {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": name}}


def secrets(**told: str) -> dict[str, Any]:
    return {"Type": "Custom::Secrets", "Properties": {"ServiceToken": "a-function", **told}}


def told(attribute: str) -> dict[str, Any]:
    return {"Fn::GetAtt": ["Secrets", attribute]}


def body(**resources: Any) -> str:
    return json.dumps({"Resources": resources})


def status(account: Any) -> str:
    return str(account.describe_stacks(StackName="stack")["Stacks"][0]["StackStatus"])


def update(account: Any, **resources: Any) -> str:
    account.update_stack(StackName="stack", TemplateBody=body(**resources))
    return status(account)


def topics() -> set[str]:
    found = boto3.client("sns", region_name=REGION).list_topics()["Topics"]
    return {each["TopicArn"].rpartition(":")[2] for each in found}


def test_what_is_new_is_made_after_the_change_of_what_it_refers_to(account: Any) -> None:
    """As an upgrade's new function has a secret that the function of the release before didn't tell."""
    account.create_stack(StackName="stack", TemplateBody=body(Secrets=secrets()))
    assert update(account, New=topic(told("Key")), Secrets=secrets(Key="new")) == "UPDATE_COMPLETE"
    assert topics() == {"new"}


def test_who_refers_to_what_changes_is_changed(account: Any) -> None:
    """As functions are when their layers have new versions: their part of the template is the same."""
    same = topic(told("Key"))
    account.create_stack(StackName="stack", TemplateBody=body(Topic=same, Secrets=secrets(Key="one")))
    assert update(account, Topic=same, Secrets=secrets(Key="other")) == "UPDATE_COMPLETE"
    assert topics() == {"other"}


def test_a_failed_update_is_taken_back_and_told(account: Any) -> None:
    before = {"Changed": topic("before"), "Gone": topic("gone")}
    account.create_stack(StackName="stack", TemplateBody=body(**before))
    new = {"Changed": topic("after"), "New": topic("new")}
    refused = {**REFUSED, "DependsOn": ["Changed", "New"]}
    assert update(account, **new, Function=refused) == "UPDATE_ROLLBACK_COMPLETE"
    assert topics() == {"before", "gone"}
    assert account.get_template(StackName="stack")["TemplateBody"]["Resources"] == before
    events = account.describe_stack_events(StackName="stack")["StackEvents"]
    assert any("refused" in event.get("ResourceStatusReason", "") for event in events)
    assert update(account, **new) == "UPDATE_COMPLETE"
    assert topics() == {"after", "new"}


def test_what_is_to_outlive_its_stack_outlives_an_update_too(account: Any) -> None:
    kept = {**topic("kept"), "DeletionPolicy": "RetainExceptOnCreate"}
    account.create_stack(StackName="stack", TemplateBody=body(Kept=kept, Other=topic("other")))
    assert update(account, Other=topic("other")) == "UPDATE_COMPLETE"
    assert topics() == {"kept", "other"}
    new = {**topic("new"), "DeletionPolicy": "RetainExceptOnCreate"}
    refused = {**REFUSED, "DependsOn": ["New"]}
    assert update(account, Other=topic("other"), New=new, F=refused) == "UPDATE_ROLLBACK_COMPLETE"
    assert topics() == {"kept", "other"}, "it never stood"


def test_a_stack_within_another_changes_in_its_place_or_fails_both(account: Any) -> None:
    bucket = boto3.client("s3", region_name=REGION)
    bucket.create_bucket(Bucket="templates")

    def nested(name: str, **resources: Any) -> dict[str, Any]:
        bucket.put_object(Bucket="templates", Key=name, Body=body(**resources))
        url = f"https://s3.amazonaws.com/templates/{name}"
        return {"Type": "AWS::CloudFormation::Stack", "Properties": {"TemplateURL": url}}

    def within() -> list[str]:
        found = account.list_stacks()["StackSummaries"]
        return [each["StackId"] for each in found if "Inner" in each["StackName"]]

    first = nested("1", Topic=topic("one"))
    account.create_stack(StackName="stack", TemplateBody=body(Inner=first, Outer=topic("outer")))
    made = within()
    assert update(account, Inner=nested("2", Topic=topic("two")), Outer=topic("outer")) == "UPDATE_COMPLETE"
    assert (topics(), within()) == ({"two", "outer"}, made)
    failing = nested("3", Topic=topic("three"), F={**REFUSED, "DependsOn": "Topic"})
    outer = {**topic("changed"), "DependsOn": "Inner"}
    assert update(account, Inner=failing, Outer=outer) == "UPDATE_ROLLBACK_COMPLETE"
    assert (topics(), within()) == ({"two", "outer"}, made)
    account.create_stack(StackName="other", TemplateBody=body(Inner=failing))
    found = account.describe_stacks(StackName="other")["Stacks"][0]
    assert found["StackStatus"] == "ROLLBACK_COMPLETE"
    assert topics() == {"two", "outer"}
