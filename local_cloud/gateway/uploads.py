"""Uploads that API Gateway stores in the bucket: the route's authorizer, and the integration with S3.

`forwarded` decides as CloudFront's viewer function does (`infra_shared/viewer.js`; a test runs both). The
deployment's own OpenAPI document makes the request to the bucket and the answer to the client
(`infra_shared.uploads`).
"""

from __future__ import annotations

import base64
import functools
import re
from typing import TYPE_CHECKING, Any

from infra_shared import uploads
from infra_shared.parking import IntegrationResponse, chosen_response, integration_responses
from local_cloud.aws.patch import AwsError
from local_cloud.aws.s3 import S3
from local_cloud.gateway.events import HttpRequest, Response, http_event
from local_cloud.gateway.parking import render
from local_cloud.gateway.routes import Match
from local_cloud.names import ACCOUNT, REGION, REST_API_ID, STAGE

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import LambdaEvent

SIZE_HEADER = b"x-murmuration-size"
_UPLOAD_PATH = re.compile(r"/_matrix/media/(?:r0|v3|v1)/upload(/[^/]+/[^/]+)?", re.ASCII)


def forwarded(request: HttpRequest) -> HttpRequest:
    """Return the request as the viewer function passes it on: it changes the path of a large upload."""
    headers = [(name, value) for name, value in request.headers if name != SIZE_HEADER]
    found = _UPLOAD_PATH.fullmatch(request.path)
    if found is None or request.method != ("PUT" if found[1] else "POST"):
        return request._replace(headers=headers)
    length = dict(headers).get(b"content-length", b"").decode("latin-1")
    if not length.isdecimal() or int(length[:18]) <= uploads.LARGE_BYTES:
        return request._replace(headers=headers)
    path = uploads.PREFIX + (found[1] or "")
    return request._replace(path=path, headers=[*headers, (SIZE_HEADER, length.encode())])


def authorizer_event(request: HttpRequest, match: Match, viewer_secret: str) -> LambdaEvent:
    """Return the event that API Gateway sends to an authorizer of the type REQUEST.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-input.html
    """
    event = http_event(request, match, b"", viewer_secret)
    del event["body"], event["isBase64Encoded"]
    target = f"{REST_API_ID}/{STAGE}/{request.method}{request.path}"
    return {
        "type": "REQUEST",
        "methodArn": f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{target}",
        **event,
    }


class Uploads:
    """The integration, with the permissions of the gateway's role."""

    def __init__(self, s3: S3, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    @functools.cached_property
    def _integration(self) -> dict[str, Any]:
        from murmuration.endpoint.http import CORS_HEADERS

        document = uploads.operation(uploads.PREFIX, "", "", CORS_HEADERS)
        whole: dict[str, Any] = document["x-amazon-apigateway-integration"]
        return whole

    @functools.cached_property
    def _responses(self) -> tuple[IntegrationResponse, ...]:
        return integration_responses(self._integration)

    def store(self, granted: dict[str, Any], body: bytes) -> Response:
        """Store the body under the key in the authorizer's answer, if the gateway's role may. Returns the
        client's response.
        """
        said = {name: str(value) for name, value in granted["context"].items()}
        status, answer = self._put(said, body)
        chosen = chosen_response(self._responses, status)
        headers = [(b"content-type", b"application/json")]
        if chosen is None:
            return 500, headers, b'{"message": "Internal server error"}'
        context: dict[str, Any] = {"authorizer": said, "responseOverride": {}}
        encoded = base64.b64encode(answer.encode()).decode()
        text = render(chosen.template, {}, 0, encoded, context)
        headers += [(name.lower().encode(), value.encode()) for name, value in chosen.headers.items()]
        told = context["responseOverride"].get("status", chosen.status)
        return int(told), headers, text.strip().encode()

    def _put(self, said: dict[str, str], body: bytes) -> tuple[int, str]:
        """Return the bucket's status and body for a PUT of the body."""
        parameters = self._integration["requestParameters"]
        parts = []
        for name in ("folder", "media", "name"):
            source = parameters[f"integration.request.path.{name}"]
            parts.append(said[source.removeprefix("context.authorizer.")])
        if parts[0] != uploads.FOLDER:
            return 403, _error("AccessDenied")
        try:
            self._s3.put_object(
                {
                    "Bucket": self._bucket,
                    "Key": "/".join(parts),
                    "Body": body,
                    "ContentType": _constant(parameters, "Content-Type"),
                    "IfNoneMatch": _constant(parameters, "If-None-Match"),
                }
            )
        except AwsError as error:
            return error.status, _error(error.code)
        return 200, ""


def _constant(parameters: dict[str, str], header: str) -> str:
    return parameters[f"integration.request.header.{header}"].strip("'")


def _error(code: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>'
