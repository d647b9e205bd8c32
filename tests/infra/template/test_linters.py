"""The template passes cfn-lint (CloudFormation's schemas) and cdk-nag (good practice)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cfnlint import api as cfnlint
from cfnlint.config import ManualArgs

from tests.infra.conftest import REST, SETTINGS, StackWith, Synthesised, make_layers

pytestmark = [
    pytest.mark.long,
    pytest.mark.xdist_group("template"),  # which is synthesised once for them all
]


COMBINATIONS = [{}, {"api": "rest"}, {"waits": "rest"}, REST]


@pytest.mark.parametrize("settings", COMBINATIONS, ids=str)
def test_cfn_lint_finds_nothing(stack_with: StackWith, settings: dict[str, str]) -> None:
    found = cfnlint.lint(
        json.dumps(_thinned(stack_with(**settings))), config=ManualArgs(regions=["us-east-1"])
    )
    assert [f"{match.rule.id} {match.path}: {match.message}" for match in found] == []


def _thinned(stack: Synthesised) -> dict[str, Any]:
    """Return the template with one function for each role. The others are similar, and cfn-lint is slow."""
    seen = set()
    resources = {}
    for name, found in stack.template["Resources"].items():
        if found["Type"] == "AWS::Lambda::Function":
            role = found["Properties"]["Role"]["Fn::GetAtt"][0]
            if role in seen and name not in _referred_to(stack):
                continue
            seen.add(role)
        resources[name] = found
    kept = {name: _waiting_for_these(found, resources) for name, found in resources.items()}
    return {**stack.template, "Resources": kept}


def _waiting_for_these(found: dict[str, Any], resources: dict[str, Any]) -> dict[str, Any]:
    """Return the resource without its dependencies on resources that are left out."""
    names = found.get("DependsOn", [])
    waited_for = [name for name in ([names] if isinstance(names, str) else names) if name in resources]
    rest = {name: value for name, value in found.items() if name != "DependsOn"}
    return {**rest, "DependsOn": waited_for} if waited_for else rest


def _referred_to(stack: Synthesised) -> set[str]:
    kinds = ("AWS::Lambda::EventSourceMapping", "AWS::Lambda::EventInvokeConfig")
    read = {found["FunctionName"]["Ref"] for kind in kinds for found in stack.properties(kind)}
    rules = stack.properties("AWS::Events::Rule")
    return read | {target["Arn"]["Fn::GetAtt"][0] for rule in rules for target in rule["Targets"]}


@pytest.mark.parametrize("settings", COMBINATIONS, ids=str)
def test_cdk_nag_finds_nothing_without_a_reason(tmp_path: Path, settings: dict[str, str]) -> None:
    from aws_cdk import Validations
    from cdk_nag import AwsSolutionsChecks

    from infra_cdk.acknowledgements import REASONS, WILDCARDS
    from infra_cdk.app import make_app
    from infra_cdk.settings import read_settings
    from infra_cdk.stack import make_stack
    from murmuration.endpoint import discover

    context = {"@aws-cdk/core:failSynthOnValidationErrors": False}
    app = make_app(outdir=str(tmp_path / "out"), context=context)
    make_stack(app, read_settings(SETTINGS | settings), discover(), make_layers(tmp_path))
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()
    report = json.loads((tmp_path / "out" / "validation-report.json").read_text())
    found = [
        f"{violation['ruleName']} {construct['constructPath']}"
        for plugin in report["pluginReports"]
        for violation in plugin["violations"]
        for construct in violation["violatingConstructs"]
    ]
    assert found == []
    assert all(len(reason) > 20 for reason in [*REASONS.values(), *(reason for _, reason in WILDCARDS)])
