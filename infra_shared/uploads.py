"""Uploads past a function's 6 MB: the REST API's integration with the bucket.

Plain data, without the CDK, so that the local gateway runs the same. The viewer function sends an upload with
a larger body than a function takes to `/uploads`, where the gateway first asks the function of the route, as
an authorizer (`murmuration.endpoint.uploads` says what it answers), and then puts the body into the bucket,
which refuses to write over an object. What the client is told comes from the authorizer, by a template.

A refused upload has a key that the gateway's role may not write to: so its body is stored nowhere, and the
client gets the status and the words that the function chose. The bucket's answer reaches the template as
base64, as in `parking`.
https://docs.aws.amazon.com/apigateway/latest/developerguide/integrating-api-with-aws-services-s3.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra_shared.parking import TEMPLATES

PREFIX = "/uploads"
FOLDER = "media"
"""What the keys of stored uploads begin with, and all that the gateway may write."""
AUTHORIZER = "large-uploads"
LARGE_BYTES = 4_194_304
"""What has more goes this way; `viewer.js` has the number too."""
SECONDS = 29
STATUSES = (400, 401, 403, 404, 409, 413, 429, 500, 503)
"""With which a function may refuse an upload; the template knows no others."""


def template() -> str:
    """The mapping template of the answer."""
    text = (TEMPLATES / "upload_response.vtl").read_text().strip()
    statuses = "\n".join(
        f'#if($context.authorizer.status == "{status}")\n'
        f"#set($context.responseOverride.status = {status})\n#end"
        for status in STATUSES
    )
    return text.replace("#statuses", statuses)


def path_parameters(path: str) -> list[dict[str, Any]]:
    """The parameters in a path of API Gateway's syntax, as OpenAPI declares them."""
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def operation(path: str, uri: Any, credentials: Any, headers: Mapping[str, str]) -> dict[str, Any]:
    """The OpenAPI operation for uploads at `path`, which answers with `headers`.

    `uri` is the bucket's `arn:…:apigateway:…:s3:path/<bucket>/{folder}/{media}/{name}`, `credentials` the ARN
    of a role that may put objects below FOLDER.
    """
    declared = {name: {"schema": {"type": "string"}} for name in headers}
    answer = {
        "statusCode": "200",
        "responseParameters": {
            f"method.response.header.{header}": f"'{value}'" for header, value in headers.items()
        },
        "responseTemplates": {"application/json": template()},
        "contentHandling": "CONVERT_TO_TEXT",
    }
    keys = ("folder", "media", "name")
    return {
        "parameters": path_parameters(path),
        "responses": {"200": {"description": "The media's URI", "headers": declared}},
        "x-amazon-apigateway-integration": {
            "type": "AWS",
            "httpMethod": "PUT",
            "uri": uri,
            "credentials": credentials,
            "passthroughBehavior": "WHEN_NO_TEMPLATES",
            "timeoutInMillis": SECONDS * 1000,
            "requestParameters": {
                **{f"integration.request.path.{key}": f"context.authorizer.{key}" for key in keys},
                "integration.request.header.Content-Type": "'application/octet-stream'",
                "integration.request.header.If-None-Match": "'*'",
            },
            "responses": {"default": answer},
        },
    }


def security_scheme(function_uri: Any, credentials: Any) -> dict[str, Any]:
    """The authorizer, by the URI at which the gateway invokes its function; no answer of it is kept."""
    return {
        "type": "apiKey",
        "name": "Authorization",
        "in": "header",
        "x-amazon-apigateway-authtype": "custom",
        "x-amazon-apigateway-authorizer": {
            "type": "request",
            "authorizerUri": function_uri,
            "authorizerCredentials": credentials,
            "authorizerResultTtlInSeconds": 0,
        },
    }
