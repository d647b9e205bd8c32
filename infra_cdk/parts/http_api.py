"""The HTTP APIs: they serve functions' routes as the REST APIs do, for two sevenths of the price.

An HTTP API decodes the path before it finds a route, so the viewer function writes each `%` as `%25`. It
doesn't ignore a slash at a path's end, so the viewer function removes that. It decides by the content type
whether a body is text, so the viewer function passes the content type in another header. Its own answers
can't be reworded.
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-vs-rest.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html

Its events have format 1.0, the format of REST APIs. As in the REST APIs, each path has its GET function for
the methods that it lacks, or else the fallback function.
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_apigatewayv2 as apigatewayv2

from infra_cdk.modules import GATEWAY_SECONDS
from infra_cdk.names import logical_id
from infra_cdk.parts.api import INVOKER, Api, burst, invocation_uri, methods_by_path
from infra_cdk.parts.functions import DeploymentError
from infra_cdk.settings import Settings
from infra_shared.apis import Part
from murmuration.endpoint import Function
from murmuration.endpoint.discovery import stores_body

MOST_ROUTES = 300
"""The default quota of routes in one API. That of integrations is the same, and can't be raised.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
"""
STAGE = "$default"
"""The stage that adds nothing to the paths."""


def http_openapi(settings: Settings, functions: Iterable[Function], part: Part = "") -> dict[str, Any]:
    """Return the OpenAPI document of one of the APIs; see `infra_cdk.parts.api.openapi`.

    It lacks the routes that store bodies in the bucket, because an HTTP API can't do that. The REST API
    beside it has them.
    """
    served = [each for each in functions if not stores_body(each.route)]
    paths = methods_by_path(served, part)
    integrations: dict[str, Any] = {}

    def operation(function: Function) -> dict[str, Any]:
        name = logical_id(function.name)
        integrations[name] = {
            "type": "AWS_PROXY",
            "httpMethod": "POST",
            "uri": invocation_uri(settings, function),
            "credentials": {"Fn::GetAtt": [INVOKER, "Arn"]},
            "payloadFormatVersion": "1.0",
            "timeoutInMillis": GATEWAY_SECONDS * 1000,
        }
        reference = {"$ref": f"#/components/x-amazon-apigateway-integrations/{name}"}
        return {"responses": {}, "x-amazon-apigateway-integration": reference}

    document = {
        path: {method: operation(function) for method, function in methods.items()}
        for path, methods in paths.items()
    }
    routes = sum(map(len, document.values()))
    if routes > MOST_ROUTES:
        raise DeploymentError(
            f"{routes} routes, and an HTTP API may have {MOST_ROUTES}: see infra_shared/apis"
        )
    return {
        "openapi": "3.0.1",
        "info": {"title": settings.prefix, "version": "1"},
        "paths": document,
        "components": {"x-amazon-apigateway-integrations": integrations},
    }


def make_http_api(stack: Stack, settings: Settings, functions: Iterable[Function], part: Part = "") -> Api:
    """Make an API with its one stage. As with REST APIs, the stage serves a deployment, which is a copy of
    the routes.
    """
    body = http_openapi(settings, functions, part)
    rate = settings.federation_requests_per_second if part == "Federation" else settings.requests_per_second
    api = apigatewayv2.CfnApi(stack, f"{part}HttpApi", body=body)
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    deployment = apigatewayv2.CfnDeployment(
        stack, f"{part}HttpDeployment{digest[:16]}", api_id=api.ref, description=f"routes {digest[:16]}"
    )
    stage = apigatewayv2.CfnStage(
        stack,
        f"{part}HttpStage",
        api_id=api.ref,
        deployment_id=deployment.ref,
        stage_name=STAGE,
        auto_deploy=False,
        default_route_settings=apigatewayv2.CfnStage.RouteSettingsProperty(
            throttling_rate_limit=rate, throttling_burst_limit=burst(rate)
        ),
    )
    return Api(api.ref, "", api, deployment, stage)
