"""Waiting without compute: the REST API's route straight onto a device's wake queue.

Plain data, without the CDK, so that the local gateway runs the same templates. The viewer function sends a
/sync whose token is marked here (`murmuration.sync.marks` says what is in it), with the query

    wait   how long to wait, in seconds
    keep   the token to go on with when nothing came, but for the time that is put behind it
    call   the token that says: come and look
    keys   what the answer says of the device's keys, as base64

The answer is an empty /sync. What SQS refuses, because the queue is gone or too many ask, is answered with
the token that says to come, and so is whatever doesn't say that nothing came. SQS's answer reaches the
template as base64: the API has media of all kinds, so all is binary to it, which `CONVERT_TO_TEXT` encodes.

A ring stays in its queue (no visibility timeout, nobody deletes it), so that all who hold the mark get it;
who was away for long is sent to look by the viewer function.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

TEMPLATES = Path(__file__).with_name("templates")
PATH = "/parked/{queue}"
QUEUE_PREFIX = "wake-"
"""What the names of wake queues begin with, behind the deployment's prefix."""
WAIT_SECONDS = 29


def template(name: str) -> str:
    """The mapping template `name`: wait_request, wait_response or wait_failure."""
    return (TEMPLATES / f"{name}.vtl").read_text().strip()


def operation(uri: Any, credentials: Any, headers: Mapping[str, str]) -> dict[str, Any]:
    """The OpenAPI operation for GET at `PATH`, which answers with `headers`.

    `uri` is the queues' `arn:…:apigateway:…:sqs:path/<account>/<prefix>-wake-{queue}`, `credentials` the ARN
    of a role that lets API Gateway receive messages from queues of that prefix.
    """
    declared = {name: {"schema": {"type": "string"}} for name in headers}

    def answer(name: str) -> dict[str, Any]:
        return {
            "statusCode": "200",
            "responseParameters": {
                f"method.response.header.{header}": f"'{value}'" for header, value in headers.items()
            },
            "responseTemplates": {"application/json": template(name)},
            "contentHandling": "CONVERT_TO_TEXT",
        }

    return {
        "parameters": [{"name": "queue", "in": "path", "required": True, "schema": {"type": "string"}}]
        + [
            {"name": name, "in": "query", "schema": {"type": "string"}}
            for name in ("wait", "keep", "call", "keys")
        ],
        "responses": {"200": {"description": "An empty sync", "headers": declared}},
        "x-amazon-apigateway-integration": {
            "type": "AWS",
            "httpMethod": "POST",
            "uri": uri,
            "credentials": credentials,
            "passthroughBehavior": "NEVER",
            "contentHandling": "CONVERT_TO_TEXT",
            "timeoutInMillis": WAIT_SECONDS * 1000,
            "requestParameters": {
                "integration.request.path.queue": "method.request.path.queue",
                "integration.request.header.Content-Type": "'application/x-www-form-urlencoded'",
            },
            "requestTemplates": {"application/json": template("wait_request")},
            "responses": {"200": answer("wait_response"), "default": answer("wait_failure")},
        },
    }
