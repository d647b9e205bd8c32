"""Creates the deployment's secrets when CloudFormation calls it: encrypted parameters of SSM.

Existing secrets aren't changed, so that they survive every deployment: with a new signing key, other servers
wouldn't recognise this one. The answer has three secrets, which CloudFormation passes to CloudFront and shows
nobody (NoEcho): the viewer secret, the key of signed media IDs, which is derived from it, and the secret of
the queues on which clients wait at the edge. When an ephemeral deployment is deleted, its secrets and media
are deleted too.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import time
import urllib.request
from typing import Any, Literal, TypedDict

import boto3
from botocore.exceptions import ClientError


class Properties(TypedDict):
    """The properties of the custom resource. CloudFormation turns all values into strings."""

    Prefix: str
    Bucket: str
    Ephemeral: Literal["true", "false"]


class Event(TypedDict):
    """CloudFormation's request."""

    RequestType: Literal["Create", "Update", "Delete"]
    ResourceProperties: Properties
    StackId: str
    RequestId: str
    LogicalResourceId: str
    ResponseURL: str


TIME_TO_ANSWER_S = 20
"""How much of the function's time is reserved for the answer to CloudFormation."""

PAUSE_S = 5
"""How long to wait before a refused request is tried again."""


class NotEmpty(Exception):
    """There wasn't enough time to delete all objects. The message says what to do."""


def handler(event: Event, context: Any) -> None:
    """Handle a request of CloudFormation.

    It is always answered, even after an error: otherwise the stack waits until CloudFormation gives up.
    """
    until = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - TIME_TO_ANSWER_S
    try:
        data = _once_allowed(event["RequestType"], event["ResourceProperties"], until)
    except Exception as error:
        _answer(event, "FAILED", {}, f"{type(error).__name__}: {error}"[:1000])
        raise
    _answer(event, "SUCCESS", data)


def _once_allowed(request: str, properties: Properties, until: float) -> dict[str, str]:
    """Carry out a request. If AWS refuses it for lack of permission, try again while there is time.

    At a first deployment the function's role is seconds old, and IAM tells other services after a while.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html
    """
    while True:
        try:
            return _carry_out(request, properties, until)
        except ClientError as error:
            denied = error.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException")
            if not denied or time.monotonic() + PAUSE_S > until:
                raise
        time.sleep(PAUSE_S)


def _carry_out(request: str, properties: Properties, until: float) -> dict[str, str]:
    prefix = properties["Prefix"]
    if request != "Delete":
        _ensure(f"/{prefix}/signing-key", _signing_key())
        viewer_secret = _ensure(f"/{prefix}/viewer-secret", secrets.token_urlsafe(32))
        return {
            "ViewerSecret": viewer_secret,
            "UploadKey": _upload_key(viewer_secret),
            "QueueSecret": _ensure(f"/{prefix}/queue-secret", secrets.token_urlsafe(32)),
        }
    if properties["Ephemeral"] == "true":
        _empty(properties["Bucket"], until)
        names = [f"/{prefix}/{name}" for name in ("signing-key", "viewer-secret", "queue-secret")]
        boto3.client("ssm").delete_parameters(Names=names)
    return {}


def _upload_key(viewer_secret: str) -> str:
    """Return the key of signed media IDs, as `murmuration.media.incoming.signed_ids` makes it."""
    digest = hmac.digest(viewer_secret.encode(), b"media uploads", "sha256")
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _signing_key() -> str:
    seed = base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    return f"ed25519 a_{secrets.token_hex(3)} {seed}"


def _ensure(name: str, value: str) -> str:
    """Return the value of a parameter. A missing one is created with `value`."""
    ssm = boto3.client("ssm")
    try:
        ssm.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=False)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ParameterAlreadyExists":
            raise
        value = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
    return value


def _empty(bucket: str, until: float) -> None:
    """Delete all objects of the bucket, if it still exists. Raises NotEmpty if that takes longer than
    `until`.
    """
    s3 = boto3.client("s3")
    try:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            if objects := [{"Key": found["Key"]} for found in page.get("Contents", ())]:
                if time.monotonic() > until:
                    raise NotEmpty(f"the bucket {bucket} still has objects: delete the stack once more")
                s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
    except s3.exceptions.NoSuchBucket:
        return


def _answer(event: Event, status: str, data: dict[str, str], reason: str = "") -> None:
    body = {
        "Status": status,
        "Reason": reason or "done",
        "PhysicalResourceId": event["ResourceProperties"]["Prefix"] + "-secrets",
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
        "NoEcho": True,
        "Data": data,
    }
    request = urllib.request.Request(  # noqa: S310 - CloudFormation's own URL
        event["ResponseURL"], json.dumps(body).encode(), {"Content-Type": ""}, method="PUT"
    )
    with urllib.request.urlopen(request, timeout=30):  # noqa: S310
        pass
