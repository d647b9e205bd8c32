"""One Lambda function for each endpoint, a role for each module of them, and their log."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aws_cdk import CfnDeletionPolicy, CfnResource, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs

from infra_cdk import assets
from infra_cdk.layers import PYTHON, Layers
from infra_cdk.modules import facts, memory, reserved
from infra_cdk.names import function_name, logical_id
from infra_cdk.parts import waves
from infra_cdk.parts.policies import Resources, Statement, allow, assumed_by, inline
from infra_cdk.settings import Settings
from infra_shared.grants import GRANTS
from murmuration.endpoint import Function

RUNTIME = f"python{PYTHON}"


class DeploymentError(Exception):
    """The discovered functions can't be deployed. The message says why."""


@dataclass(frozen=True)
class Deployed:
    """The functions of the stack, and the values with which other resources refer to them."""

    settings: Settings
    functions: Sequence[Function]
    resources: Mapping[str, lambda_.CfnFunction]
    roles: Mapping[str, iam.CfnRole]
    last: Sequence[CfnResource]
    """The functions that are made last."""

    def physical_name(self, function: Function) -> str:
        return function_name(self.settings, function)

    def resource(self, function: Function) -> lambda_.CfnFunction:
        return self.resources[function.name]


def make_log_group(stack: Stack, settings: Settings) -> logs.CfnLogGroup:
    """Make the one log group for all functions, so that one query searches all logs."""
    group = logs.CfnLogGroup(
        stack,
        "Logs",
        log_group_name=f"/aws/lambda/{settings.prefix}",
        retention_in_days=settings.log_retention_days,
    )
    group.cfn_options.deletion_policy = CfnDeletionPolicy.DELETE
    group.cfn_options.update_replace_policy = CfnDeletionPolicy.DELETE
    return group


def may_log(group: logs.CfnLogGroup) -> Statement:
    return allow(["logs:CreateLogStream", "logs:PutLogEvents"], [group.attr_arn])


def logging_config(group: logs.CfnLogGroup, settings: Settings) -> lambda_.CfnFunction.LoggingConfigProperty:
    """Return the logging settings: JSON lines, without Lambda's own three lines at INFO.

    Those would cost more than most invocations.
    """
    system_level = settings.log_level if settings.log_level in ("DEBUG", "INFO") else "WARN"
    return lambda_.CfnFunction.LoggingConfigProperty(
        log_format="JSON",
        log_group=group.ref,
        application_log_level=settings.log_level,
        system_log_level=system_level,
    )


def make_layers(stack: Stack, settings: Settings, layers: Layers) -> list[str]:
    """Make the layers' versions and return their ARNs, in the order in which functions list them."""
    arns = []
    for name, folder in (("code", layers.code), ("dependencies", layers.dependencies)):
        bucket, key = assets.add_zip(stack, assets.folder_files(folder))
        version = lambda_.CfnLayerVersion(
            stack,
            logical_id("layer", name),
            layer_name=f"{settings.prefix}-{name}",
            compatible_architectures=["arm64"],
            compatible_runtimes=[RUNTIME],
            content=lambda_.CfnLayerVersion.ContentProperty(s3_bucket=bucket, s3_key=key),
        )
        arns.append(version.ref)
    return arns


def make_functions(
    stack: Stack,
    settings: Settings,
    functions: Sequence[Function],
    *,
    layer_arns: Sequence[str],
    log_group: logs.CfnLogGroup,
    resources: Resources,
    environment: Mapping[str, Any],
    event_statements: Mapping[str, Sequence[Statement]],
    after: Sequence[CfnResource] = (),
) -> Deployed:
    """Make the functions, a few at a time, and none before the resources in `after`.

    `event_statements` are the permissions that event sources need, by module. Raises DeploymentError.
    """
    modules = sorted({function.group for function in functions})
    if missing := [module for module in modules if module not in GRANTS]:
        raise DeploymentError(f"infra_shared/grants says nothing of {', '.join(missing)}")
    roles = {
        module: make_role(
            stack,
            module,
            [may_log(log_group), *resources.statements(GRANTS[module]), *event_statements.get(module, ())],
        )
        for module in modules
    }
    made = {
        function.name: _make_function(
            stack, settings, function, roles[function.group], layer_arns, log_group, environment
        )
        for function in functions
    }
    return Deployed(settings, functions, made, roles, waves.chain(functions, made, after))


def make_role(stack: Stack, module: str, statements: Sequence[Statement]) -> iam.CfnRole:
    """Make the role of a module's functions."""
    return iam.CfnRole(
        stack,
        logical_id("role", module),
        assume_role_policy_document=assumed_by("lambda"),
        policies=inline(statements),
    )


def _make_function(
    stack: Stack,
    settings: Settings,
    function: Function,
    role: iam.CfnRole,
    layer_arns: Sequence[str],
    log_group: logs.CfnLogGroup,
    environment: Mapping[str, Any],
) -> lambda_.CfnFunction:
    module_facts, name = facts(function.group), function.module.removeprefix("functions.")
    reservations = reserved(settings.account_concurrency, held=settings.waiting == "held")
    source = Path(inspect.getfile(_module(function)))
    bucket, key = assets.add_zip(stack, {function.module.replace(".", "/") + ".py": source})
    return lambda_.CfnFunction(
        stack,
        logical_id("function", function.name),
        function_name=function_name(settings, function),
        description=_summary(function),
        architectures=["arm64"],
        runtime=RUNTIME,
        handler=f"{function.module}.handler",
        code=lambda_.CfnFunction.CodeProperty(s3_bucket=bucket, s3_key=key),
        role=role.attr_arn,
        memory_size=memory(name, settings.memory, held=settings.waiting == "held"),
        timeout=module_facts.timeout,
        reserved_concurrent_executions=reservations.get(name),
        layers=list(layer_arns),
        environment=lambda_.CfnFunction.EnvironmentProperty(variables=dict(environment)),
        logging_config=logging_config(log_group, settings),
    )


def _module(function: Function) -> Any:
    import importlib

    return importlib.import_module(function.module)


def _summary(function: Function) -> str:
    """Return the first sentence of the module's docstring, cut to the length of a description."""
    return (inspect.getdoc(_module(function)) or function.name).partition(". http")[0].splitlines()[0][:256]
