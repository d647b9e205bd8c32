"""Deploys into a simulated account what `cdk deploy` would deploy into a real one: `make deploy-local`."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from infra_cdk import layers
from infra_cdk.rehearsal.cloud import ACCOUNT, REGION, Account, CdkFailed, Deployed, account

REFUSED = "/rehearsal/refused-function"
"""The parameter by which the simulated account is told what to refuse; see `infra_cdk.rehearsal.models`."""

SETTINGS = {
    "server_name": "rehearsal.example.org",
    "stage": "rehearsal",
    "ephemeral": "true",
    "registration": "open",
}
PREFIX = "murmuration-rehearsal"


def main() -> int:
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {line}", flush=True)  # noqa: T201 - a command's output

    built = layers.build(say=say)
    with tempfile.TemporaryDirectory() as folder, account(Path(folder), built.code.parent) as cloud:
        try:
            cloud.cdk("bootstrap", f"aws://{ACCOUNT}/{REGION}", settings=SETTINGS)
            say("bootstrapped the account")
            _fail_halfway(cloud)
            say("failed halfway on purpose, and left nothing behind")
            cloud.cdk("deploy", "--method=direct", "--require-approval=never", settings=SETTINGS)
            deployed = cloud.deployed(PREFIX)
            say(f"deployed {len(deployed.configurations)} functions, {len(deployed.routes)} routes")
            _converse(deployed)
            say("registered, made a room, sent a message and read it, through what was deployed")
            cloud.cdk("deploy", "--method=direct", "--require-approval=never", settings=_CHANGED)
            say("deployed a change")
            if "no differences" not in cloud.cdk("diff", "--no-change-set", settings=_CHANGED):
                say("FAILED: there still is a difference after the deployment")
                return 1
            say("found no difference any more")
            cloud.cdk("destroy", "--force", settings=_CHANGED)
            say("destroyed it")
        except CdkFailed as error:
            print(error, file=sys.stderr)  # noqa: T201
            return 1
    return 0


_CHANGED = SETTINGS | {"memory": "1024"}


def _fail_halfway(cloud: Account) -> None:
    """Deploy for keeps while a function can't be made: nothing may stay in the next attempt's way."""
    kept = SETTINGS | {"ephemeral": "false"}
    ssm = cloud.client("ssm")
    ssm.put_parameter(Name=REFUSED, Value=f"{PREFIX}-client_server-sync", Type="String")
    try:
        cloud.cdk("deploy", "--method=direct", "--require-approval=never", settings=kept)
    except CdkFailed:
        ssm.delete_parameter(Name=REFUSED)
    else:
        raise CdkFailed("a deployment whose function could not be made was taken for a success")
    left = cloud.deployed(PREFIX)
    if left.tables() or left.configurations:
        raise CdkFailed(f"the failed deployment left {[*left.tables(), *left.configurations]}")


def _converse(deployed: Deployed) -> None:
    deployed.copy_tables()
    body = {"username": "alice", "password": "wonderland", "auth": {"type": "m.login.dummy"}}
    token = _call(deployed, "POST", "register", body)["access_token"]
    room = _call(deployed, "POST", "createRoom", {"name": "Rehearsal"}, token)["room_id"]
    path = f"rooms/{room.replace('!', '%21').replace(':', '%3A')}"
    message = {"msgtype": "m.text", "body": "Does this thing fly?"}
    sent = _call(deployed, "PUT", f"{path}/send/m.room.message/t1", message, token)["event_id"]
    page = _call(deployed, "GET", f"{path}/messages?dir=b&limit=1", None, token)
    assert page["chunk"][0]["event_id"] == sent  # noqa: S101 - the rehearsal's own check


def _call(deployed: Deployed, method: str, path: str, body: Any, token: str = "") -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    raw = b"" if body is None else json.dumps(body).encode()
    answer = deployed.request(method, f"/_matrix/client/v3/{path}", raw, headers)
    assert answer["statusCode"] == 200, answer  # noqa: S101
    return json.loads(answer["body"])


if __name__ == "__main__":
    sys.exit(main())
