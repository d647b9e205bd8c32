"""Uploads beyond a function's 6 MB: the REST API's integration with the bucket.

Plain data, without the CDK, so that the local gateway runs the same. If an upload's body is larger than a
function accepts, the viewer function sends it to `/uploads`. There the gateway first asks the route's
function, as an authorizer (`murmuration.endpoint.uploads` describes its answer). Then it stores the body in
the bucket, which refuses to overwrite an object. A template makes the client's answer from the authorizer's.

For a refused upload, the authorizer names a key to which the gateway's role may not write. So the body isn't
stored, and the client gets the status and error that the function chose. The bucket's answer reaches the
template as base64, as in `parking`.
https://docs.aws.amazon.com/apigateway/latest/developerguide/integrating-api-with-aws-services-s3.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra_shared.parking import TEMPLATES

PREFIX = "/uploads"
FOLDER = "media"
"""The prefix of the keys of stored uploads. The gateway may write nothing else."""
AUTHORIZER = "large-uploads"
LARGE_BYTES = 4_194_304
"""Larger bodies take this way; `viewer.js` has the number too."""
MOST_POST_BYTES = 10_000_000
"""The maximum of API Gateway. Larger bodies can go from CloudFront into the bucket (`viewer.js`)."""
SECONDS = 29
STATUSES = (400, 401, 403, 404, 409, 413, 429, 500, 503)
"""The statuses with which a function may refuse an upload; the template knows no others."""


def template() -> str:
    """Return the mapping template that makes the client's answer."""
    text = (TEMPLATES / "upload_response.vtl").read_text().strip()
    statuses = "\n".join(
        f'#if($context.authorizer.status == "{status}")\n'
        f"#set($context.responseOverride.status = {status})\n#end"
        for status in STATUSES
    )
    return text.replace("#statuses", statuses)


def path_parameters(path: str) -> list[dict[str, Any]]:
    """Return OpenAPI declarations of the parameters in a path of API Gateway's syntax."""
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def operation(path: str, uri: object, credentials: object, headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the OpenAPI operation for uploads at `path`, which answers with `headers`.

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


def security_scheme(function_uri: object, credentials: object) -> dict[str, Any]:
    """Return the authorizer, which the gateway invokes at `function_uri`. Its answers aren't cached."""
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
