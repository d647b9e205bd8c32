"""Deploys into a simulated account exactly what `cdk deploy` would deploy into a real one: `make
deploy-local`.

With `--from COMMIT` an earlier release is deployed first, with its own code; the rest is an upgrade from it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra_cdk import layers
from infra_cdk.rehearsal.cloud import ACCOUNT, REGION, ROOT, Account, CdkFailed, Deployed, account
from murmuration.endpoint import discover, http_routes
from murmuration.endpoint.discovery import stores_body

REFUSED = "/rehearsal/refused-function"
"""The parameter that tells the simulated account which resources to refuse; see
`infra_cdk.rehearsal.models`."""

SETTINGS = {
    "server_name": "rehearsal.example.org",
    "stage": "rehearsal",
    "ephemeral": "true",
    "registration": "open",
}
PREFIX = "murmuration-rehearsal"
PATIENCE_S = 300
Say = Callable[[str], None]


class Wrong(Exception):
    """A check of the rehearsal failed. The message says which."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra_cdk.rehearsal")
    parser.add_argument("--from", dest="before", metavar="COMMIT", help="upgrade from this commit")
    before = parser.parse_args(arguments).before
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {line}", flush=True)  # noqa: T201 - a command's output

    built = layers.build(say=say)
    with tempfile.TemporaryDirectory() as folder, account(Path(folder), built.code.parent) as cloud:
        try:
            _rehearse(cloud, say, before)
        except (CdkFailed, Wrong) as error:
            print(error, file=sys.stderr)  # noqa: T201
            return 1
    return 0


def _rehearse(cloud: Account, say: Say, before: str | None) -> None:
    cloud.cdk("bootstrap", f"aws://{ACCOUNT}/{REGION}", settings=SETTINGS)
    say("bootstrapped the account")
    _fail_halfway(cloud)
    say("failed halfway on purpose, and left nothing behind")
    tables: dict[str, Any] = {}
    conversation = None
    if before:
        source = _exported(before, cloud.folder / "before")
        _deploy(cloud, SETTINGS, source, _layers_of(source, cloud.layers))
        deployed = cloud.deployed(PREFIX)
        tables = deployed.tables()
        deployed.copy_tables()
        conversation = _converse(deployed, "before")
        say(f"deployed {before}, with {len(deployed.configurations)} functions; they converse")
    _deploy(cloud, SETTINGS)
    deployed = cloud.deployed(PREFIX)
    _check_kept(tables, deployed.tables())
    _check_whole(deployed, SETTINGS)
    say(f"deployed {len(deployed.configurations)} functions, {len(deployed.routes)} routes")
    deployed.copy_tables()
    if conversation:
        _read(deployed, conversation)
        say(f"read what was sent through {before}")
    latest = _converse(deployed, "alice")
    say("registered, made a room, sent a message and read it, through what was deployed")
    _export(cloud, latest)
    say("exported all that, by `murmuration export`")
    _ask_the_doctor(cloud)
    say("`murmuration doctor` found what must be there")
    _restore(cloud)
    say("restored tables and signing key beside it, by `murmuration restore`")
    _fail_to_change(cloud)
    say("failed halfway through a change, on purpose; it was taken back, and they converse")
    for name, changed in (("REST APIs and another memory", _CHANGED), ("back to the defaults", SETTINGS)):
        _deploy(cloud, changed)
        _check_kept(tables | deployed.tables(), cloud.deployed(PREFIX).tables())
        _check_whole(cloud.deployed(PREFIX), changed)
        _converse(cloud.deployed(PREFIX), f"user-{changed.get('api', 'default')}")
        say(f"deployed a change: {name}; they converse")
        if "no differences" not in cloud.cdk("diff", "--no-change-set", settings=changed):
            raise Wrong("there still is a difference after the deployment")
        say("found no difference any more")
    cloud.cdk("destroy", "--force", settings=SETTINGS)
    _wait_until_gone(lambda: [*cloud.deployed(PREFIX).tables(), *cloud.deployed(PREFIX).configurations])
    say("destroyed it")


_CHANGED = SETTINGS | {"memory": "1024", "api": "rest", "waits": "rest", "account_concurrency": "1000"}
"""Both fallback settings, in an account in which concurrency may be reserved for functions."""


def _wait_until_gone(left: Callable[[], Sequence[str]], pause: Callable[[float], None] = time.sleep) -> None:
    """Raise Wrong if a resource of the stack still exists.

    The simulated account deletes a stack within one request. The CDK repeats a request after five minutes,
    and is then told that the stack is gone, while a busy machine is still deleting it.
    """
    for _ in range(PATIENCE_S):
        if not left():
            return
        pause(1)
    raise Wrong(f"{left()} are left")


def _deploy(
    cloud: Account, settings: Mapping[str, str], root: Path = ROOT, layers: Path | None = None
) -> None:
    options = ("--method=direct", "--require-approval=never")
    cloud.cdk("deploy", *options, settings=settings, root=root, layers=layers)


def _exported(commit: str, folder: Path) -> Path:
    """Return a folder with the source of a commit, with the same layout as this checkout."""
    folder.mkdir()
    archive = folder.with_suffix(".tar")
    command = ["git", "archive", f"--output={archive}", commit]
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:  # noqa: S603
        raise Wrong(f"git has no {commit}")
    with tarfile.open(archive) as found:
        found.extractall(folder, filter="data")
    (folder / "node_modules").symlink_to(ROOT / "node_modules")
    return folder


def _layers_of(source: Path, built: Path) -> Path:
    """Return a folder of layers with the code in `source` and the current dependencies."""
    folder = source.with_name(f"{source.name}-layers")
    folder.mkdir()
    (folder / "code").symlink_to(source / "layers" / "murmuration")
    (folder / "dependencies").symlink_to(built / "dependencies")
    return folder


def _check_kept(before: dict[str, dict[str, Any]], now: dict[str, dict[str, Any]]) -> None:
    """Raise Wrong if an upgrade replaced a table."""
    for name, table in before.items():
        if name not in now or now[name]["CreationDateTime"] != table["CreationDateTime"]:
            raise Wrong(f"the upgrade did not keep {name}")


def _check_whole(deployed: Deployed, settings: Mapping[str, str]) -> None:
    """Raise Wrong if functions or routes are missing, or if functions are not all of this deployment."""
    functions = discover()
    found = [each for each in deployed.configurations.values() if each["Handler"].startswith("functions.")]
    wanted = sorted(f"{each.module}.handler" for each in functions)
    if wanted != sorted(each["Handler"] for each in found):
        raise Wrong(f"{len(found)} functions are there, and not the {len(wanted)} that should be")
    layers = {tuple(layer["Arn"] for layer in each["Layers"]) for each in found}
    apis = {each["Environment"]["Variables"]["MURMURATION_API"] for each in found}
    if len(layers) != 1 or apis != {settings.get("api", "http")}:
        raise Wrong(f"functions are left from before: they have {len(layers)} sets of layers, APIs {apis}")
    served = http_routes([each for each in functions if not stores_body(each.route)])
    # The simulated account imports no methods of a REST API's root.
    declared = {(method, path) for method, path, _ in served if path != "/"}
    if missing := declared - deployed.routes.keys():
        raise Wrong(f"these routes are missing: {sorted(missing)}")


def _fail_halfway(cloud: Account) -> None:
    """Deploy while one function can't be created, and check that nothing is left that would block the next
    attempt.
    """
    _deploy_refused(cloud, SETTINGS | {"ephemeral": "false"})
    left = cloud.deployed(PREFIX)
    if left.tables() or left.configurations:
        raise Wrong(f"the failed deployment left {[*left.tables(), *left.configurations]}")


def _fail_to_change(cloud: Account) -> None:
    """Deploy a change while one function can't be changed, and check that everything is as before."""
    before = cloud.deployed(PREFIX)
    _deploy_refused(cloud, _CHANGED)
    now = cloud.deployed(PREFIX)
    _check_kept(before.tables(), now.tables())
    _check_whole(now, SETTINGS)
    _converse(now, "still-there")


def _deploy_refused(cloud: Account, settings: Mapping[str, str]) -> None:
    """Deploy while the simulated account refuses to make or change a function."""
    ssm = cloud.client("ssm")
    ssm.put_parameter(Name=REFUSED, Value=f"{PREFIX}-client_server-sync", Type="String")
    try:
        _deploy(cloud, settings)
    except CdkFailed:
        ssm.delete_parameter(Name=REFUSED)
    else:
        raise Wrong("a deployment with a function that was refused was taken for a success")


def _ask_the_doctor(cloud: Account) -> None:
    """Raise Wrong if `murmuration doctor` finds a fault. It sends no requests, because the account has no
    CloudFront.
    """
    _, said = cloud.murmuration("doctor", "--prefix", PREFIX)
    found = {line.split(":")[0].strip() for line in said.splitlines() if line.lstrip().startswith("ok")}
    for subject in ("signing key", "tables", "queues"):
        if not any(subject in line for line in found):
            raise Wrong(f"the doctor does not find the {subject}:\n{said}")


def _export(cloud: Account, conversation: Conversation) -> None:
    """Raise Wrong if an export of the deployment lacks the message that was sent, or the signing key."""
    folder = cloud.folder / "export"
    arguments = ("export", str(folder), "--prefix", PREFIX)
    status, said = cloud.murmuration(*arguments, AWS_ENDPOINT_URL_DYNAMODB=cloud.database_url)
    if status != 0:
        raise Wrong(f"the export failed:\n{said}")
    rooms = [path for path in folder.glob("rooms/*.events.jsonl") if conversation.sent in path.read_text()]
    if len(rooms) != 1 or not (folder / "signing-key").read_text().startswith("ed25519 "):
        raise Wrong(f"the export lacks what was said, or the key:\n{said}")


def _restore(cloud: Account) -> None:
    """Restore the tables, and check the result.

    This is done once, because the simulated account restores to the time of the request, whatever time was
    requested.
    """
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    status, said = cloud.murmuration("restore", "--at", at, "--stage", "back", "--prefix", PREFIX)
    if status != 0:
        raise Wrong(f"the restoration failed:\n{said}")
    back = cloud.deployed("murmuration-back")
    if not back.tables():
        raise Wrong("there are no restored tables")
    ssm = cloud.client("ssm")
    keys = {
        ssm.get_parameter(Name=f"/{prefix}/signing-key", WithDecryption=True)["Parameter"]["Value"]
        for prefix in (PREFIX, "murmuration-back")
    }
    if len(keys) != 1:
        raise Wrong("the restored server has another key")
    dynamodb = cloud.client("dynamodb")
    for name in back.tables():
        dynamodb.update_table(TableName=name, DeletionProtectionEnabled=False)
        dynamodb.delete_table(TableName=name)


@dataclass(frozen=True)
class Conversation:
    """A message that was sent: in which room, and with which access token."""

    token: str
    room: str
    sent: str


def _converse(deployed: Deployed, name: str) -> Conversation:
    """Register, make a room, send a message and read it. Returns what was sent."""
    body = {"username": name, "password": "wonderland", "auth": {"type": "m.login.dummy"}}
    token = _call(deployed, "POST", "register", body)["access_token"]
    room = _call(deployed, "POST", "createRoom", {"name": "Rehearsal"}, token)["room_id"]
    path = f"rooms/{room.replace('!', '%21').replace(':', '%3A')}"
    message = {"msgtype": "m.text", "body": "Does this thing fly?"}
    sent = _call(deployed, "PUT", f"{path}/send/m.room.message/t1", message, token)["event_id"]
    conversation = Conversation(token, path, sent)
    _read(deployed, conversation)
    return conversation


def _read(deployed: Deployed, conversation: Conversation) -> None:
    """Raise Wrong if the message that was sent isn't the last one of its room."""
    path = f"{conversation.room}/messages?dir=b&limit=1"
    page = _call(deployed, "GET", path, None, conversation.token)
    if [event["event_id"] for event in page["chunk"]] != [conversation.sent]:
        raise Wrong("the message that was sent is not the one that is read")


def _call(deployed: Deployed, method: str, path: str, body: object, token: str = "") -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    raw = b"" if body is None else json.dumps(body).encode()
    answer = deployed.request(method, f"/_matrix/client/v3/{path}", raw, headers)
    if answer["statusCode"] != 200:
        raise Wrong(f"{method} {path} was answered with {answer}")
    return json.loads(answer["body"])


if __name__ == "__main__":
    sys.exit(main())
