"""AWS's quotas on templates that no linter checks, with the longest possible names."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.infra.conftest import TRY, StackWith, Synthesised

pytestmark = pytest.mark.xdist_group("template")  # which is synthesised once for them all
LONGEST_ARN = "a" * 120
"""What stands for an ARN that only a deployment knows."""


@pytest.fixture(scope="module")
def longest(stack_with: StackWith) -> Synthesised:
    """The stack with the longest stage, and a long server name."""
    name = f"{'a' * 60}.{'b' * 60}.{'c' * 60}.example.org"
    return stack_with(**(TRY | {"stage": "a" * 16}), server_name=name)


def written(value: Any) -> Any:
    """A part of a template as AWS gets it, with a long region."""
    match value:
        case {"Fn::Sub": [str(text), *_]} | {"Fn::Sub": str(text)}:
            text = text.replace("${AWS::Partition}", "aws").replace("${AWS::Region}", "ap-southeast-1")
            return re.sub(r"\$\{[^}]*\}", "123456789012", text)
        case {"Fn::Join": [separator, parts]}:
            return separator.join(str(written(part)) for part in parts)
        case {"Ref": _} | {"Fn::GetAtt": _}:
            return LONGEST_ARN
        case dict():
            return {name: written(inner) for name, inner in value.items()}
        case list():
            return [written(inner) for inner in value]
    return value


def test_a_roles_policies_have_room(longest: Synthesised) -> None:
    """A role's own policies may have 10,240 characters together, white space aside.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
    """
    roles = longest.of_type("AWS::IAM::Role")
    assert len(roles) > 50
    for name, role in roles.items():
        documents = [policy["PolicyDocument"] for policy in written(role["Properties"].get("Policies", []))]
        assert sum(len(json.dumps(each, separators=(",", ":"))) for each in documents) < 9_000, name


def test_templates_have_few_parameters_and_outputs(longest: Synthesised) -> None:
    """A template may have 200 of each, and a description 1,024 bytes.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
    """
    for template in longest.templates:
        assert max(len(template.get(part, {})) for part in ("Parameters", "Outputs")) < 100
        assert len(template.get("Description", "").encode()) <= 1_024


def test_each_api_is_small_enough_to_be_imported(longest: Synthesised) -> None:
    """An OpenAPI document may have 6 MB.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
    """
    assert longest.api_documents
    for document in longest.api_documents.values():
        assert len(json.dumps(written(document))) < 2_000_000


def test_an_account_has_room_for_several_deployments(stack: Synthesised) -> None:
    """An account may have 1,000 roles, 100 functions of CloudFront's, and 100 rules of events.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
    """
    assert len(stack.of_type("AWS::IAM::Role")) <= 200
    assert len(stack.of_type("AWS::CloudFront::Function")) <= 16
    assert len(stack.of_type("AWS::Events::Rule")) <= 16
