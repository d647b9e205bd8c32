"""The deployment, synthesised once for all tests of it, by layers that stand in for the real ones.

Tests that run in several processes share what is synthesised with the same settings.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from infra_cdk.layers import Layers
from infra_cdk.names import function_name
from infra_cdk.settings import Settings, read_settings
from murmuration.endpoint import Function, discover

SETTINGS = {
    "server_name": "example.org",
    "domain": "matrix.example.org",
    "certificate_arn": "arn:aws:acm:us-east-1:123456789012:certificate/11111111-2222-3333-4444-555555555555",
    "mail_sender": "noreply@example.org",
    "alarm_email": "operator@example.org",
    "turn_uris": "turn:turn.example.org",
    "account_concurrency": "1000",
}

PREFIX = "murmuration-prod"
REST = {"api": "rest", "waits": "rest"}
TRY = {"stage": "try", "ephemeral": "true", "domain": "", "certificate_arn": "", "account_concurrency": "0"}
StackWith = Callable[..., "Synthesised"]


@dataclass(frozen=True)
class Synthesised:
    """A synthesised stack. `path` is the template's.

    `nested` has the templates of the stacks within it, by the logical IDs that these have in the first.
    """

    template: Mapping[str, Any]
    path: Path
    nested: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def templates(self) -> tuple[Mapping[str, Any], ...]:
        """The first stack's template and those of the nested ones."""
        return (self.template, *self.nested.values())

    @property
    def resources(self) -> dict[str, Any]:
        """All resources by their logical IDs, those of the nested stacks too."""
        return {name: found for template in self.templates for name, found in template["Resources"].items()}

    def of_type(self, kind: str) -> dict[str, Any]:
        """Return the resources of a type, by their logical IDs."""
        return {name: found for name, found in self.resources.items() if found["Type"] == kind}

    @property
    def api_documents(self) -> dict[str, Any]:
        """The OpenAPI documents of the REST and HTTP APIs, by their logical IDs."""
        found = self.of_type("AWS::ApiGateway::RestApi") | self.of_type("AWS::ApiGatewayV2::Api")
        bodies = {name: api["Properties"].get("Body") for name, api in found.items()}
        return {name: body for name, body in bodies.items() if body is not None}

    def routes(self) -> dict[tuple[str, str], str]:
        """Return the function of each path and method, by its physical name, without those that no function
        serves.
        """
        return {
            (path, method): function
            for body in self.api_documents.values()
            for path, methods in body["paths"].items()
            for method, operation in methods.items()
            if (function := _function_of(body, operation))
        }

    def properties(self, kind: str) -> list[dict[str, Any]]:
        return [found["Properties"] for found in self.of_type(kind).values()]


def _function_of(body: Mapping[str, Any], operation: Mapping[str, Any]) -> str:
    """Return the function that an operation calls, or that authorises it before a body is stored."""
    integration = operation["x-amazon-apigateway-integration"]
    if reference := integration.get("$ref"):
        integration = body["components"]["x-amazon-apigateway-integrations"][reference.rpartition("/")[2]]
    uri = integration["uri"]["Fn::Sub"]
    if ":s3:path/" in uri:
        (name,) = operation["security"][0]
        scheme = body["components"]["securitySchemes"][name]
        uri = scheme["x-amazon-apigateway-authorizer"]["authorizerUri"]["Fn::Sub"]
    match = re.search(r":function:([^/]+)/invocations$", uri)
    return match[1] if match else ""


@functools.cache
def functions() -> list[Function]:
    """Return all functions."""
    return discover()


@functools.cache
def physical_names() -> dict[str, str]:
    """Return the functions' physical names by their modules'."""
    settings = Settings(server_name="example.org")
    return {function.module: function_name(settings, function) for function in functions()}


def make_layers(folder: Path) -> Layers:
    """Make two layers of one file each. The content of real layers is tested with `infra_cdk.layers`."""
    for name in ("code", "dependencies"):
        (folder / name / "python").mkdir(parents=True)
        (folder / name / "python" / f"{name}.py").write_text("")
    return Layers(folder / "code", folder / "dependencies")


def synthesise(folder: Path, **settings: Any) -> Synthesised:
    """Synthesise with SETTINGS and `settings` into a folder."""
    from infra_cdk.app import make_app
    from infra_cdk.stack import make_stack

    app = make_app(outdir=str(folder / "out"))
    stack = make_stack(app, read_settings(SETTINGS | settings), functions(), make_layers(folder / "layers"))
    assembly = app.synth()
    found = assembly.get_stack_by_name(stack.stack_name)
    return read(Path(found.template_full_path))


def read(path: Path) -> Synthesised:
    """Return the synthesised stack in the folder of a template."""
    template = json.loads(path.read_text())
    nested = {}
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::CloudFormation::Stack":
            division = name.partition("NestedStack")[0]
            (within,) = path.parent.glob(f"*{division}*.nested.template.json")
            nested[name] = json.loads(within.read_text())
    return Synthesised(template, path, nested)


@pytest.fixture(scope="session", autouse=True)
def _quiet_cdk() -> None:
    os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "20")


@pytest.fixture(scope="session")
def stack_with(tmp_path_factory: pytest.TempPathFactory) -> StackWith:
    """Return a function that synthesises the stack with settings, once in a run for all processes."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    @functools.cache
    def found(settings: tuple[tuple[str, str], ...]) -> Synthesised:
        folder = shared / f"stack-{hashlib.sha256(repr(settings).encode()).hexdigest()[:16]}"
        folder.mkdir(exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            made = folder / "path"
            if not made.exists():
                made.write_text(str(synthesise(folder, **dict(settings)).path))
        return read(Path(made.read_text()))

    return lambda **settings: found(tuple(sorted(settings.items())))


@pytest.fixture(scope="session")
def stack(stack_with: StackWith) -> Synthesised:
    """Return the default deployment: HTTP APIs for the functions, and clients that wait at the edge."""
    return stack_with()


@pytest.fixture(scope="session")
def rest_stack(stack_with: StackWith) -> Synthesised:
    """Return a deployment with REST APIs for everything, the former default."""
    return stack_with(**REST)


@pytest.fixture(scope="session")
def stack_to_try(stack_with: StackWith) -> Synthesised:
    """Return a deployment for trials: without a domain, and deleted with its data."""
    return stack_with(**TRY)


@pytest.fixture
def cloudformation(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of the rehearsal's CloudFormation, in an account of its own within this process."""
    import boto3
    from moto import mock_aws

    from infra_cdk.rehearsal.cloud import REGION
    from infra_cdk.rehearsal.corrections import corrections

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "nobody's")
    for name in [name for name in os.environ if name.startswith("AWS_ENDPOINT_URL")]:
        monkeypatch.delenv(name)  # the database of other tests
    for owner, name, value in corrections():
        monkeypatch.setattr(owner, name, value)
    with mock_aws():
        yield boto3.client("cloudformation", region_name=REGION)
