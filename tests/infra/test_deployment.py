"""The real CDK deploys into a simulated account, and the deployed server works."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from infra_cdk.parts.functions import RUNTIME
from infra_cdk.rehearsal.cloud import ACCOUNT, CDK, REGION, Account, Deployed, account
from infra_shared import parking, uploads
from infra_shared.apis import PARTS
from murmuration.endpoint import Queue, Stream, discover, http_routes
from murmuration.endpoint.discovery import stores_body
from murmuration.storage.tables import TABLES
from tests.infra.conftest import make_layers

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not CDK.exists(), reason="the CDK's command line is not installed: run npm ci"),
    pytest.mark.xdist_group("deployment"),
]

SETTINGS = {
    "server_name": "example.org",
    "stage": "rehearsal",
    "ephemeral": "true",
    "registration": "open",
    "turn_uris": "turn:turn.example.org",
}
REST = {"api": "rest", "waits": "rest"}
PREFIX = "murmuration-rehearsal"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """Yield an account with the stack in it."""
    folder = tmp_path_factory.mktemp("account")
    layers = make_layers(folder / "layers")
    shutil.copytree(
        "layers/murmuration/python/murmuration",
        layers.code / "python" / "murmuration",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    with account(folder, folder / "layers") as simulated:
        simulated.cdk("bootstrap", f"aws://{ACCOUNT}/{REGION}", settings=SETTINGS)
        deploy(simulated, SETTINGS)
        yield simulated


def deploy(simulated: Account, settings: dict[str, str]) -> str:
    return simulated.cdk("deploy", "--method=direct", "--require-approval=never", settings=settings)


@pytest.fixture(scope="module")
def deployed(cloud: Account) -> Deployed:
    found = cloud.deployed(PREFIX)
    found.copy_tables()
    return found


def test_every_function_is_there_as_the_template_says(deployed: Deployed) -> None:
    handlers = {found["Handler"] for found in deployed.configurations.values()}
    assert {f"{function.module}.handler" for function in discover()} < handlers
    for name, found in deployed.configurations.items():
        assert found["FunctionName"] == name
        assert found["Runtime"] == RUNTIME
        if found["Handler"].startswith("functions."):
            assert found["Environment"]["Variables"]["MURMURATION_SERVER_NAME"] == "example.org"
            assert found["Environment"]["Variables"]["MURMURATION_PREFIX"] == PREFIX
            assert [layer["Arn"].split(":")[6] for layer in found["Layers"]] == [
                f"{PREFIX}-code",
                f"{PREFIX}-dependencies",
            ]


def test_every_route_is_there(deployed: Deployed) -> None:
    routed = {(method, path) for method, path in deployed.routes if method != "ANY"}
    # Large uploads go to the bucket; the functions of their routes only authorise them.
    served = [function for function in discover() if not stores_body(function.route)]
    declared = {(method, path) for method, path, _ in http_routes(served) if method != "ANY"}
    assert routed == declared
    (beside,) = deployed.account.client("apigateway").get_rest_apis()["items"]
    assert beside["name"] == PREFIX, "of REST APIs there is that for queues and large uploads alone"
    fallback = deployed.routes["ANY", "/{proxy+}"]
    for path in {path for _, path in routed} - {"/"}:  # that is in each API, and only one has the page
        assert deployed.routes["ANY", path] == deployed.routes.get(("GET", path), fallback)


def test_every_table_and_queue_is_there(deployed: Deployed) -> None:
    tables = deployed.tables()
    assert set(tables) == {f"{PREFIX}-{table.name}" for table in TABLES}
    for table in TABLES:
        found = tables[f"{PREFIX}-{table.name}"]
        assert bool(found.get("StreamSpecification", {}).get("StreamEnabled")) is table.streams
    urls = deployed.account.client("sqs").list_queues().get("QueueUrls", [])
    names = {url.rpartition("/")[2] for url in urls}
    wanted = {
        f"{PREFIX}-{function.route.name}" + (".fifo" if function.route.fifo else "")
        for function in discover()
        if isinstance(function.route, Queue)
    }
    assert wanted | {f"{PREFIX}-dead-letters"} <= names


def test_every_worker_reads_its_source(deployed: Deployed) -> None:
    """Lambda reads the streams. Workers of queues are invoked by the names that the calling functions
    have.
    """
    mappings = deployed.account.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    found = {mapping["FunctionArn"].rpartition(":")[2]: mapping["EventSourceArn"] for mapping in mappings}
    for function in discover():
        source = found.get(f"{PREFIX}-{function.name}", "")
        if isinstance(function.route, Stream):
            assert f":table/{PREFIX}-{function.route.table}/stream/" in source
        elif isinstance(function.route, Queue):
            assert f"{PREFIX}-queue-{function.route.name}" in deployed.configurations
    assert not any(":sqs:" in source for source in found.values())


def test_the_secrets_are_made_and_shown_nobody(deployed: Deployed) -> None:
    ssm = deployed.account.client("ssm")
    found = {
        name: ssm.get_parameter(Name=f"/{PREFIX}/{name}", WithDecryption=True)["Parameter"]
        for name in ("signing-key", "viewer-secret", "queue-secret")
    }
    assert {parameter["Type"] for parameter in found.values()} == {"SecureString"}
    algorithm, _, seed = found["signing-key"]["Value"].split()
    assert algorithm == "ed25519"
    assert len(base64.b64decode(seed + "=")) == 32
    shown = json.dumps(deployed.configurations, default=str)
    assert not any(parameter["Value"] in shown for parameter in found.values())


def call(deployed: Deployed, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    raw = b"" if body is None else json.dumps(body).encode()
    answer = deployed.request(method, path, raw, headers)
    assert answer["headers"]["Access-Control-Allow-Origin"] == "*"
    return answer["statusCode"], json.loads(answer["body"])


def test_a_conversation_through_what_was_deployed(deployed: Deployed) -> None:
    """Each request runs the deployed function's code, with the deployed layer, environment and secrets."""
    body = {"username": "alice", "password": "wonderland", "auth": {"type": "m.login.dummy"}}
    status, registered = call(deployed, "POST", "/_matrix/client/v3/register", body)
    assert (status, registered["user_id"]) == (200, "@alice:example.org")
    token = registered["access_token"]
    status, room = call(deployed, "POST", "/_matrix/client/v3/createRoom", {"name": "Tea"}, token)
    assert status == 200
    room_path = f"/_matrix/client/v3/rooms/{quote(room['room_id'], safe='')}"
    message = {"msgtype": "m.text", "body": "Twinkle, twinkle"}
    status, sent = call(deployed, "PUT", f"{room_path}/send/m.room.message/t1", message, token)
    assert status == 200
    status, page = call(deployed, "GET", f"{room_path}/messages?dir=b&limit=1", None, token)
    assert status == 200
    assert [(event["event_id"], event["content"]) for event in page["chunk"]] == [(sent["event_id"], message)]


def test_operators_commands_reach_it(deployed: Deployed, tmp_path: Path) -> None:
    def command(*arguments: str, said: str = "") -> str:
        process = subprocess.run(
            [sys.executable, "-m", "operators.cli", *arguments, "--prefix", PREFIX],
            input=said,
            capture_output=True,
            text=True,
            check=False,
            env={
                **os.environ,
                **deployed.account.credentials,
                "AWS_ENDPOINT_URL_DYNAMODB": deployed.account.database_url,
            },
        )
        assert process.returncode == 0, process.stderr
        return process.stdout.strip()

    said = command("users", "create", "root", "--admin", said="correct horse battery\n")
    assert said.startswith("@root:example.org may log in now")
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "root"},
        "password": "correct horse battery",
    }
    status, answer = call(deployed, "POST", "/_matrix/client/v3/login", body)
    assert (status, answer["user_id"]) == (200, "@root:example.org")
    assert len(command("registration-tokens", "create", "--uses", "2")) > 8
    assert command("export", str(tmp_path / "all")).endswith(f"example.org is in {tmp_path / 'all'}")
    assert '"@root:example.org"' in (tmp_path / "all" / "users.jsonl").read_text()
    assert (tmp_path / "all" / "signing-key").read_text().startswith("ed25519 ")


def test_what_is_not_there_is_answered_in_matrix_words(deployed: Deployed) -> None:
    assert call(deployed, "GET", "/_matrix/client/v3/no_such_thing")[0] == 404
    status, body = call(deployed, "DELETE", "/_matrix/client/versions")
    assert (status, body["errcode"]) == (405, "M_UNRECOGNIZED")


def test_a_change_is_deployed_and_then_there_is_no_difference(cloud: Account, deployed: Deployed) -> None:
    """This is the last test of the file, since it changes the deployment."""
    key = cloud.client("ssm").get_parameter(Name=f"/{PREFIX}/signing-key", WithDecryption=True)
    changed = SETTINGS | {"turn_uris": "turn:elsewhere.example.org", "memory": "1024", **REST}
    assert "[~]" in cloud.cdk("diff", "--no-change-set", settings=changed)
    deploy(cloud, changed)
    again = cloud.deployed(PREFIX)
    for found in again.configurations.values():
        if found["Handler"].startswith("functions."):
            assert found["Environment"]["Variables"]["MURMURATION_TURN_URIS"] == "turn:elsewhere.example.org"
    left_out = {("GET", "/"), ("ANY", "/")}  # the simulated account imports no methods of a REST API's root
    now = {
        (method, path): name
        for (method, path), name in again.routes.items()
        if path != parking.PATH and not path.startswith(uploads.PREFIX)  # which HTTP APIs lack
    }
    assert now == {key: name for key, name in deployed.routes.items() if key not in left_out}
    apis = cloud.client("apigateway").get_rest_apis()["items"]
    assert [api["name"] for api in apis] == [PREFIX] * len(PARTS), "the one beside is gone"
    assert {
        found["Environment"]["Variables"]["MURMURATION_WAITS"]
        for found in again.configurations.values()
        if found["Handler"].startswith("functions.")
    } == {"rest"}
    status, room = call(again, "GET", "/_matrix/client/v3/directory/room/%23a%2Fb%3Aexample.org")
    assert (status, room["errcode"]) == (404, "M_NOT_FOUND")
    assert cloud.client("ssm").get_parameter(Name=f"/{PREFIX}/signing-key", WithDecryption=True) | {
        "ResponseMetadata": None
    } == key | {"ResponseMetadata": None}, "a deployment must leave the server's key alone"
    assert "no differences" in cloud.cdk("diff", "--no-change-set", settings=changed)
    cloud.cdk("destroy", "--force", settings=changed)
    left = cloud.client("cloudformation").list_stacks()["StackSummaries"]
    assert {stack["StackName"]: stack["StackStatus"] for stack in left}[PREFIX] == "DELETE_COMPLETE"
    assert cloud.deployed(PREFIX).configurations == {}
    assert cloud.deployed(PREFIX).tables() == {}
