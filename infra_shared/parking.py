"""Waiting without a function: the REST API's route directly to a device's wake queue.

Plain data, without the CDK, so that the local gateway runs the same templates. The viewer function sends a
/sync with a marked token here (`murmuration.sync.marks` explains marks), with the query

    wait   how long to wait, in seconds
    keep   the token with which to continue if nothing came; the time of the answer is added to it
    call   the token with which the client comes to a function
    keys   the part of the answer about the device's keys, as base64

The answer is an empty /sync. Only if SQS answers that nothing came, it has the token with which to continue.
For everything else it has the token with which to come to a function: for a ring, and if SQS refuses, because
the queue is gone or there are too many requests. SQS's answer reaches the template as base64: the API has
media of all types, so everything is binary to it, and `CONVERT_TO_TEXT` encodes it.

REST keeps one integration response for each status code of a method. So there is only one, for all of SQS's
answers, and its template distinguishes the cases (`integration_responses` says what an import keeps).

If clients wait at the edge, CloudFront uses this route when SQS refuses its own request (`edge_waits`). Then
the path is the queue's name, and the rest comes in headers.

A request of sliding sync is a POST, whose answers are valid for one body only. The mapping template compares
the body's digest with that in the mark (`murmuration.sliding_sync.marks`), which is one more parameter,
`digest`. If they differ it sends SQS a request that SQS refuses, and the client is sent to the function.
`keys` is then the whole text of a quiet answer, and the part between two `~` is left out if a client is
called.

A ring stays in its queue (there is no visibility timeout, and nobody deletes it), so that everybody who has
the mark gets it. The viewer function sends a client that was away for long to the function.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra_shared import edge_waits

TEMPLATES = Path(__file__).with_name("templates")
PATH = "/parked/{queue}"
PATH_AT_EDGE = "/{queue}"
QUEUE_PREFIX = "wake-2-"
"""The prefix of wake queues' names, after the deployment's prefix."""
PARAMETERS = ("wait", "keep", "call", "keys")
SLIDING_PARAMETERS = (*PARAMETERS, "digest")
WAIT_SECONDS = 29


def template(name: str, prefix: str = "") -> str:
    """Return the mapping template `name`, whose parameters' names begin with `prefix`.

    The template of a request makes a form, so its lines are joined.
    """
    text = (TEMPLATES / f"{name}.vtl").read_text().strip()
    if name.endswith("_request"):
        text = text.replace("\n", "")
    return text.replace("params('", f"params('{prefix}")


def operations(
    uri: object, credentials: object, headers: Mapping[str, str], *, at_edge: bool = False
) -> dict[str, Any]:
    """Return the OpenAPI operations at `PATH`, or at `PATH_AT_EDGE`: GET for /sync, and POST for sliding
    sync.
    """
    return {
        method: operation(uri, credentials, headers, at_edge=at_edge, slides=method == "post")
        for method in ("get", "post")
    }


def operation(
    uri: object,
    credentials: object,
    headers: Mapping[str, str],
    *,
    at_edge: bool = False,
    slides: bool = False,
) -> dict[str, Any]:
    """Return the OpenAPI operation for waiting by /sync or, with `slides`, by sliding sync.

    It answers with `headers`. `uri` is the queues'
    `arn:…:apigateway:…:sqs:path/<account>/<prefix>-wake-2-{queue}`, at the edge with `{queue}` for the whole
    name; `credentials` is the ARN of a role that lets API Gateway receive messages from queues of that
    prefix.
    """
    prefix = edge_waits.HEADER_PREFIX if at_edge else ""
    kind = "sliding" if slides else "wait"
    declared = {name: {"schema": {"type": "string"}} for name in headers}

    answer = {
        "statusCode": "200",
        "responseParameters": {
            f"method.response.header.{header}": f"'{value}'" for header, value in headers.items()
        },
        "responseTemplates": {"application/json": template(f"{kind}_response", prefix)},
        "contentHandling": "CONVERT_TO_TEXT",
    }
    return {
        "parameters": [{"name": "queue", "in": "path", "required": True, "schema": {"type": "string"}}]
        + [
            {"name": prefix + name, "in": "header" if at_edge else "query", "schema": {"type": "string"}}
            for name in (SLIDING_PARAMETERS if slides else PARAMETERS)
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
            "requestTemplates": {"application/json": template(f"{kind}_request", prefix)},
            "responses": {"default": answer},
        },
    }


@dataclass(frozen=True, slots=True)
class IntegrationResponse:
    """An integration response as REST stores it; `pattern` is empty for the default one."""

    pattern: str
    status: str
    template: str
    headers: Mapping[str, str]
    converts_to_text: bool

    def fits(self, status: int) -> bool:
        """Return whether its pattern matches a status of the integration's answer."""
        return bool(self.pattern) and re.fullmatch(self.pattern, str(status)) is not None


def integration_responses(integration: Mapping[str, Any]) -> tuple[IntegrationResponse, ...]:
    """Return the responses of an OpenAPI integration that REST keeps after an import.

    REST identifies a response by its method and status code, so it keeps one for each. If the document has
    several of the same identity, the last is kept here, as in the rehearsal's simulated account.
    https://docs.aws.amazon.com/apigateway/latest/api/API_PutIntegrationResponse.html
    """
    kept: dict[str, IntegrationResponse] = {}
    prefix = "method.response.header."
    for pattern, response in integration["responses"].items():
        kept[str(response["statusCode"])] = IntegrationResponse(
            pattern="" if pattern == "default" else pattern,
            status=str(response["statusCode"]),
            template=response["responseTemplates"]["application/json"],
            headers={
                name.removeprefix(prefix): value[1:-1]
                for name, value in response.get("responseParameters", {}).items()
            },
            converts_to_text=response.get("contentHandling") == "CONVERT_TO_TEXT",
        )
    return tuple(kept.values())


def chosen_response(responses: tuple[IntegrationResponse, ...], status: int) -> IntegrationResponse | None:
    """Return the response for an integration's status; None if none matches, which REST answers with 500."""
    fitting = (response for response in responses if response.fits(status))
    default = next((response for response in responses if not response.pattern), None)
    return next(fitting, default)
