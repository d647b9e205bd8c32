"""Uploads that are too large for a function: API Gateway puts their bodies into the bucket.

For such a route, the gateway calls the function as an authorizer. The function sees the whole request except
the body. It returns the object's key, and the answer that the client gets once the body is stored. To refuse
the upload it returns an error, with a key to which the gateway may not write. `infra_shared.uploads` has the
gateway's part.
https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-use-lambda-authorizer.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from murmuration.protocol.encoding.shapes import LambdaEvent
from murmuration.protocol.errors import MissingParam

if TYPE_CHECKING:
    from murmuration.endpoint.shapes import AuthorizerAnswer, PolicyStatement, ProxyResponse

SIZE_HEADER = "x-murmuration-size"
REFUSED = "refused"
"""The first part of a key to which the gateway has no permission."""


def size_of(headers: Mapping[str, str]) -> int:
    """Return the size of a body that the viewer side noted, in bytes. Raises MissingParam."""
    text = headers.get(SIZE_HEADER, "")
    if text.isdecimal() and len(text) < 16:
        return int(text)
    raise MissingParam("The request doesn't say how many bytes it has")


def of_gateway(event: LambdaEvent, answer: ProxyResponse) -> ProxyResponse | AuthorizerAnswer:
    """Return an endpoint's answer in the form that the event needs: a proxy response, or an authorizer's
    answer.
    """
    return placing(event, answer) if event.get("type") == "REQUEST" else answer


def placing(event: LambdaEvent, answer: ProxyResponse) -> AuthorizerAnswer:
    """Return the authorizer's answer for an endpoint's answer. Its context has the key `object` and `answer`.

    The key has three parts. Every request is allowed, because a refusal by the gateway itself couldn't have
    Matrix's status and error.
    """
    status, body = int(answer["statusCode"]), str(answer["body"])
    folder, media, name = REFUSED, "-", "-"
    if status == 200:
        found = json.loads(body)
        folder, media, name = found["object"].split("/")
        body = json.dumps(found["answer"])
    statement: PolicyStatement = {
        "Action": "execute-api:Invoke",
        "Effect": "Allow",
        "Resource": event["methodArn"],
    }
    return {
        "principalId": "client",
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": {
            "folder": folder,
            "media": media,
            "name": name,
            "status": str(status),
            "body": body,
        },
    }
