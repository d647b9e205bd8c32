"""A simulated account for the deployment: starts it, runs the CDK on it, and reads back its resources."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from infra_cdk.rehearsal.invocation import invoke

ROOT = Path(__file__).resolve().parent.parent.parent
CDK = ROOT / "node_modules" / ".bin" / "cdk"
REGION = "us-east-1"
ACCOUNT = "123456789012"
PATIENCE_S = 300
"""How long moto may take to start. It imports many modules, and other tests may occupy the processor."""


class CdkFailed(Exception):
    """A CDK command failed; the message is its output."""


@dataclass(frozen=True)
class Account:
    """A simulated AWS account. `folder` has the CDK's output and unpacked zips.

    `database_url` is the DynamoDB that functions use, because moto's own handles transactions wrongly.
    """

    url: str
    database_url: str
    folder: Path
    layers: Path

    @property
    def credentials(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "rehearsal",
            "AWS_SECRET_ACCESS_KEY": "rehearsal",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def cdk(
        self,
        command: str,
        *arguments: str,
        settings: Mapping[str, str],
        root: Path = ROOT,
        layers: Path | None = None,
    ) -> str:
        """Run a CDK command on the source in `root`, with `settings` as its context and the account's layers,
        or others. Returns its output.

        Raises CdkFailed.
        """
        context = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        app = f"{sys.executable} -m infra_cdk.app --layers {layers or self.layers}"
        process = subprocess.run(  # noqa: S603
            [str(CDK), command, *arguments, "--app", app, "--build", "true",
             "--output", str(self.folder / "cdk.out"), "--no-notices", "--ci", *context],
            cwd=root, capture_output=True, text=True, check=False,
            env={**_clean_environment(), **self.credentials,
                 "PYTHONPATH": _python_path(root),
                 "CDK_DISABLE_CLI_TELEMETRY": "true", "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20"},
        )  # fmt: skip
        said = process.stdout + process.stderr
        if process.returncode != 0:
            raise CdkFailed(f"cdk {command} failed:\n{said}")
        return said

    def murmuration(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """Run an operators' command, with more variables in its environment. Returns its exit status and its
        output.
        """
        process = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "operators.cli", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            env={
                **_clean_environment(),
                **self.credentials,
                "PYTHONPATH": _python_path(ROOT),
                **environment,
            },
        )
        return process.returncode, process.stdout + process.stderr

    def client(self, service: str, url: str | None = None) -> Any:
        from botocore.session import Session

        return Session().create_client(
            service,
            endpoint_url=url or self.url,
            region_name=REGION,
            aws_access_key_id="rehearsal",
            aws_secret_access_key="rehearsal",  # noqa: S106 - nobody's
        )

    def deployed(self, prefix: str) -> Deployed:
        return Deployed(self, prefix)


def _python_path(root: Path) -> str:
    """Return a PYTHONPATH with only the source in `root`, because a second folder of the same name would be
    mixed up with it.
    """
    ours = {ROOT, ROOT / "layers" / "murmuration" / "python"}
    others = [path for path in sys.path if path and Path(path).resolve() not in ours]
    return os.pathsep.join([str(root), str(root / "layers" / "murmuration" / "python"), *others])


def _clean_environment() -> dict[str, str]:
    """Return this process's environment without the variables that point to a real account."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


@dataclass(frozen=True)
class Deployed:
    """The deployed resources, read back from the account rather than from the template."""

    account: Account
    prefix: str

    @cached_property
    def configurations(self) -> dict[str, dict[str, Any]]:
        """Each function's configuration, by its name."""
        pages = self.account.client("lambda").get_paginator("list_functions").paginate()
        functions = [found for page in pages for found in page["Functions"]]
        return {found["FunctionName"]: found for found in functions}

    def tables(self) -> dict[str, dict[str, Any]]:
        """Return each table's description, by its name."""
        dynamodb = self.account.client("dynamodb")
        names = [name for name in dynamodb.list_tables()["TableNames"] if name.startswith(f"{self.prefix}-")]
        return {name: dynamodb.describe_table(TableName=name)["Table"] for name in names}

    def copy_tables(self) -> None:
        """Create the deployed tables again in the DynamoDB that functions use, except those that
        exist there.
        """
        database = self.account.client("dynamodb", self.account.database_url)
        there = database.list_tables()["TableNames"]
        for name, table in self.tables().items():
            if name in there:
                continue
            indexes = [
                {part: index[part] for part in ("IndexName", "KeySchema", "Projection")}
                for index in table.get("LocalSecondaryIndexes") or ()
            ]
            database.create_table(
                TableName=name,
                BillingMode="PAY_PER_REQUEST",
                KeySchema=table["KeySchema"],
                AttributeDefinitions=table["AttributeDefinitions"],
                **({"LocalSecondaryIndexes": indexes} if indexes else {}),
            )

    @cached_property
    def routes(self) -> dict[tuple[str, str], str]:
        """The function's name for each method and path of the REST and HTTP APIs."""
        gateway = self.account.client("apigateway")
        apis = [found["id"] for found in gateway.get_rest_apis()["items"] if found["name"] == self.prefix]
        resources = gateway.get_paginator("get_resources")
        found = {}
        for api_id in apis:
            for resource in resources.paginate(restApiId=api_id, embed=["methods"]).search("items"):
                for method, details in (resource.get("resourceMethods") or {}).items():
                    uri = details["methodIntegration"]["uri"]
                    match = re.search(r":function:([^/]+)/invocations$", uri)
                    if match:
                        found[(method, resource["path"])] = match[1]
        return found | self._http_routes()

    def _http_routes(self) -> dict[tuple[str, str], str]:
        gateway = self.account.client("apigatewayv2")
        found = {}
        for api in gateway.get_apis()["Items"]:
            if (api["ProtocolType"], api["Name"]) != ("HTTP", self.prefix):
                continue
            integrations = gateway.get_integrations(ApiId=api["ApiId"])["Items"]
            uris = {f"integrations/{each['IntegrationId']}": each["IntegrationUri"] for each in integrations}
            for route in gateway.get_routes(ApiId=api["ApiId"])["Items"]:
                method, _, path = route["RouteKey"].partition(" ")
                found[(method, path)] = uris[route["Target"]].split(":function:")[1].partition("/")[0]
        return found

    @cached_property
    def _code_layer(self) -> bytes:
        return self._asset("LayerCode")

    @cached_property
    def _template(self) -> Any:
        """The deployment's template, with the resources of the stacks within it."""
        template = self._template_of(self.prefix)
        resources = dict(template["Resources"])
        for name, found in template["Resources"].items():
            if found["Type"] == "AWS::CloudFormation::Stack":
                listed = self.account.client("cloudformation").list_stacks()["StackSummaries"]
                (nested,) = (
                    each["StackName"]
                    for each in listed
                    if name in each["StackName"] and not each["StackStatus"].startswith("DELETE")
                )
                resources |= self._template_of(nested)["Resources"]
        return {**template, "Resources": resources}

    def _template_of(self, stack: str) -> Any:
        template = self.account.client("cloudformation").get_template(StackName=stack)["TemplateBody"]
        if isinstance(template, str):
            import json

            return json.loads(template)
        return template

    def _asset(self, logical_id: str) -> bytes:
        """Return the zip from which a resource of the deployed template was made, from the bucket of
        assets.
        """
        properties = self._template["Resources"][logical_id]["Properties"]
        key = (properties.get("Content") or properties.get("Code"))["S3Key"]
        bucket = f"cdk-hnb659fds-assets-{ACCOUNT}-{REGION}"
        content: bytes = self.account.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    @cached_property
    def _logical_ids(self) -> dict[str, str]:
        return {
            found["Properties"]["FunctionName"]: logical_id
            for logical_id, found in self._template["Resources"].items()
            if found["Type"] == "AWS::Lambda::Function"
        }

    def invoke(self, name: str, event: object) -> Any:
        """Invoke a function with its deployed code, layers, handler and environment. Returns its answer."""
        configuration = self.configurations[name]
        environment = {
            **configuration["Environment"]["Variables"],
            **self.account.credentials,
            "AWS_ENDPOINT_URL_DYNAMODB": self.account.database_url,
            "AWS_LAMBDA_FUNCTION_NAME": name,
        }
        return invoke(
            self._asset(self._logical_ids[name]),
            [self._code_layer],
            configuration["Handler"],
            environment,
            event,
            below=self.account.folder,
        )

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Send a request through the deployed routes. Returns the function's proxy response."""
        from local_cloud.gateway import events, http_api
        from local_cloud.gateway.events import HttpRequest
        from local_cloud.gateway.routes import Routes

        routes = Routes((verb, route, name) for (verb, route), name in self.routes.items())  # type: ignore[misc]
        path, _, query = path.partition("?")
        match = routes.match(path, method)
        if match is None or match.function is None:
            raise LookupError(f"no route for {method} {path}")
        raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
        request = HttpRequest(method, path, query, raw, "192.0.2.1", "HTTP/1.1")
        name = str(match.function)
        api = self.configurations[name]["Environment"]["Variables"]["MURMURATION_API"]
        make_event = http_api.http_event if api == "http" else events.http_event
        answer: dict[str, Any] = self.invoke(name, make_event(request, match, body, "no-secret"))
        return answer


@contextmanager
def account(folder: Path, layers: Path) -> Iterator[Account]:
    """Run a simulated account until the block ends."""
    from local_cloud.data_folder import DataFolder
    from local_cloud.database.dynoxide import Dynoxide

    port = _free_port()
    with ExitStack() as stack:
        data = DataFolder(folder / "data")
        data.open()
        stack.callback(data.close)
        database = Dynoxide(data)
        database.start()
        stack.callback(database.stop)
        log = stack.enter_context((folder / "moto.log").open("w"))
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "infra_cdk.rehearsal.server", str(port)],
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env={
                **_clean_environment(),
                "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
                "MOTO_ACCOUNT_ID": ACCOUNT,
                "AWS_ACCESS_KEY_ID": "rehearsal",
                "AWS_SECRET_ACCESS_KEY": "rehearsal",
            },
        )
        try:
            _wait_for(port, process)
            yield Account(f"http://localhost:{port}", database.url, folder, layers)
        finally:
            process.terminate()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError("moto ended at its start: see moto.log")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("moto did not start")
