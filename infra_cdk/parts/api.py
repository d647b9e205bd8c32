"""The REST APIs: an OpenAPI document for each group of the discovered routes.

The number of path nodes of an API is limited, so there are several (`infra_shared.apis`); the one for other
servers' requests has its own throttle. All have one name, by which CloudWatch counts them together.

A REST API passes the path to functions as it was sent. Each path has the fallback function for the methods
that it lacks, so that a wrong method gets Matrix's error. The answers that API Gateway gives by itself get
the same form here.

If functions' routes have HTTP APIs (`http_api`), one REST API has the routes that those can't have
(`openapi_beside`).
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aws_cdk import CfnResource, Fn, Stack
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_iam as iam

from infra_cdk.division import api_name
from infra_cdk.modules import GATEWAY_SECONDS
from infra_cdk.names import function_name
from infra_cdk.parts.functions import DeploymentError
from infra_cdk.parts.policies import allow, arn, assumed_by, inline
from infra_cdk.settings import Settings
from infra_shared import edge_waits, parking, uploads
from infra_shared.apis import Part, part_of
from infra_shared.gateway_answers import GATEWAY_ANSWERS
from murmuration.endpoint import Function, http_routes
from murmuration.endpoint.discovery import stores_body
from murmuration.endpoint.http import CORS_HEADERS

STAGE = "live"
MOST_RESOURCES = 300
"""API Gateway's default quota of path nodes in one API."""
MOST_BURST = 5_000
"""An account's burst quota, for all its APIs of a region together.

https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
"""
SMALLEST_COMPRESSED = 1024
"""In bytes. Compression doesn't make smaller answers smaller."""
FALLBACK_PATH = "/{proxy+}"
INVOKER = "ApiInvokerRole"
WAITER = "ApiWaiterRole"
UPLOADER = "ApiUploaderRole"
ANY = "x-amazon-apigateway-any-method"


class Api(NamedTuple):
    """An API and its stage, which serves a deployment of the API's routes. Without a stage, an API isn't
    reachable.
    """

    id: str
    path: str
    """The path that the stage adds before each path."""
    resource: CfnResource
    deployment: CfnResource
    stage: CfnResource


def make_invoker(stack: Stack, settings: Settings, functions: Iterable[Function]) -> iam.CfnRole:
    """Make the one role with which API Gateway calls functions. A statement for each would exceed IAM's
    limits.
    """
    apis = sorted({api_name(function) for function in functions if not _is_worker(function)})
    targets = [arn("lambda", f"function:{settings.prefix}-{api}-*") for api in apis]
    return iam.CfnRole(
        stack,
        INVOKER,
        assume_role_policy_document=assumed_by("apigateway"),
        policies=inline([allow(["lambda:InvokeFunction"], targets)]),
    )


def make_waiter(stack: Stack, settings: Settings) -> None:
    """Make the role with which API Gateway receives messages from the wake queues of parked clients."""
    queues = arn("sqs", f"{settings.prefix}-{queue_prefix(settings)}*")
    iam.CfnRole(
        stack,
        WAITER,
        assume_role_policy_document=assumed_by("apigateway"),
        policies=inline([allow(["sqs:ReceiveMessage"], [queues])]),
    )


def make_uploader(stack: Stack, bucket_arn: str) -> None:
    """Make the role with which API Gateway stores uploads. It may write only to their folder."""
    iam.CfnRole(
        stack,
        UPLOADER,
        assume_role_policy_document=assumed_by("apigateway"),
        policies=inline([allow(["s3:PutObject"], [f"{bucket_arn}/{uploads.FOLDER}/*"])]),
    )


def _stored(path: str) -> dict[str, Any]:
    """Return the operation of a route whose body is stored in the bucket."""
    key = "{folder}/{media}/{name}"
    uri = {"Fn::Sub": f"arn:${{AWS::Partition}}:apigateway:${{AWS::Region}}:s3:path/${{MediaBucket}}/{key}"}
    return uploads.operation(path, uri, {"Fn::GetAtt": [UPLOADER, "Arn"]}, CORS_HEADERS)


def queue_prefix(settings: Settings) -> str:
    """Return the prefix of wake queues' names, without the deployment's prefix."""
    return edge_waits.QUEUE_PREFIX if settings.waits_at_edge else parking.QUEUE_PREFIX


def _parked(settings: Settings) -> dict[str, Any]:
    at_edge = settings.waits_at_edge
    queue = "{queue}" if at_edge else f"{settings.prefix}-{parking.QUEUE_PREFIX}{{queue}}"
    uri = {"Fn::Sub": "arn:${AWS::Partition}:apigateway:${AWS::Region}:sqs:path/${AWS::AccountId}/" + queue}
    return parking.operations(uri, {"Fn::GetAtt": [WAITER, "Arn"]}, CORS_HEADERS, at_edge=at_edge)


def _is_worker(function: Function) -> bool:
    return function.group.startswith("workers.")


def invocation_uri(settings: Settings, function: Function) -> dict[str, str]:
    """Return the URI with which API Gateway invokes a function.

    It has the function's name instead of a reference, so that functions can depend on parts of the API.
    """
    return {
        "Fn::Sub": "arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/"
        "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}"
        f":function:{function_name(settings, function)}/invocations"
    }


def openapi(settings: Settings, functions: Iterable[Function], part: Part = "") -> dict[str, Any]:
    """Return the OpenAPI document of the API `part`. It has no tokens of the CDK, so each synthesis makes the
    same one.

    Raises DeploymentError for routes that API Gateway would refuse.
    """

    found = methods_by_path(functions, part)
    paths: dict[str, dict[str, Any]] = {
        path: {method: _operation(settings, function, path, method) for method, function in methods.items()}
        for path, methods in found.items()
    }
    if settings.waiting == "parked" and not part and not settings.has_rest_beside:
        fallback = found[FALLBACK_PATH][ANY]
        paths[parking.PATH] = {**_parked(settings), ANY: _operation(settings, fallback)}
    if (nodes := count_nodes(paths)) > MOST_RESOURCES:
        raise DeploymentError(f"the routes make {nodes} resources, and an API may have {MOST_RESOURCES}")
    schemes = _schemes(settings, found)
    return _document(settings, paths, schemes)


def openapi_beside(settings: Settings, functions: Iterable[Function]) -> dict[str, Any]:
    """Return the OpenAPI document of the REST API that a deployment with HTTP APIs also has.

    See `Settings.has_rest_beside`.
    """
    stored: dict[str, dict[str, Function]] = {}
    if settings.api == "http":
        for method, path, function in http_routes(functions):
            if stores_body(function.route):
                stored.setdefault(path, {})[method.lower()] = function
    paths = {
        path: {method: _operation(settings, function, path, method) for method, function in methods.items()}
        for path, methods in sorted(stored.items())
    }
    if settings.waiting == "parked":
        paths[parking.PATH_AT_EDGE if settings.waits_at_edge else parking.PATH] = _parked(settings)
    return _document(settings, paths, _schemes(settings, stored))


def _operation(settings: Settings, function: Function, path: str = "", method: str = "") -> dict[str, Any]:
    """Return the operation of a route. Its path and method are only needed for one that stores its body."""
    if stores_body(function.route):
        return {**_stored(path), "security": [{_scheme_name(method): []}]}
    return {
        "responses": {},
        "x-amazon-apigateway-integration": {
            "type": "AWS_PROXY",
            "httpMethod": "POST",
            "uri": invocation_uri(settings, function),
            "credentials": {"Fn::GetAtt": [INVOKER, "Arn"]},
            "passthroughBehavior": "WHEN_NO_MATCH",
            "timeoutInMillis": GATEWAY_SECONDS * 1000,
        },
    }


def _scheme_name(method: str) -> str:
    return f"{uploads.AUTHORIZER}-{method}"


def _schemes(settings: Settings, routes: Mapping[str, Mapping[str, Function]]) -> dict[str, Any]:
    """Return the authorizers for routes that store bodies: each is the route's own function."""
    credentials = {"Fn::GetAtt": [INVOKER, "Arn"]}
    return {
        _scheme_name(method): uploads.security_scheme(invocation_uri(settings, function), credentials)
        for methods in routes.values()
        for method, function in methods.items()
        if stores_body(function.route)
    }


def methods_by_path(functions: Iterable[Function], part: Part) -> dict[str, dict[str, Function]]:
    """Return the function for each path and method of an API.

    Methods without a function get the function of GET, which also answers HEAD, or else the fallback. Raises
    DeploymentError for routes that contradict each other.
    """
    routes = sorted(
        (route for route in http_routes(functions) if route[1] == FALLBACK_PATH or part_of(route[1]) == part),
        key=lambda route: (route[1], route[0]),
    )
    fallback = next((function for _, path, function in routes if path == FALLBACK_PATH), None)
    if fallback is None:
        raise DeploymentError(f"no function serves {FALLBACK_PATH}: unknown paths would go unanswered")
    paths: dict[str, dict[str, Function]] = {"/": {}}
    for method, path, function in routes:
        methods = paths.setdefault(path, {})
        key = ANY if method == "ANY" else method.lower()
        if key in methods:
            raise DeploymentError(f"two functions serve {method} {path}")
        methods[key] = function
    for methods in paths.values():
        methods.setdefault(ANY, methods.get("get", fallback))
    return paths


def _document(
    settings: Settings, paths: dict[str, dict[str, Any]], schemes: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "openapi": "3.0.1",
        "info": {"title": settings.prefix, "version": "1"},
        "x-amazon-apigateway-binary-media-types": ["*/*"],
        "x-amazon-apigateway-gateway-responses": _gateway_responses(),
        "paths": paths,
        **({"components": {"securitySchemes": dict(schemes)}} if schemes else {}),
    }


def count_nodes(paths: Iterable[str]) -> int:
    """Return how many path nodes an API needs for these paths.

    Raises DeploymentError if two parameters at the same place have different names.
    """
    names: dict[str, str] = {}
    nodes: set[str] = set()
    for path in paths:
        parent = ""
        for part in path.strip("/").split("/"):
            kind = "{+}" if part.endswith("+}") else "{}" if part.startswith("{") else part
            parent += "/" + kind
            nodes.add(parent)
            if names.setdefault(parent, part) != part:
                raise DeploymentError(
                    f"{path}: {part} is {names[parent]} in another route, which can't both be"
                )
    return len(nodes)


def _gateway_responses() -> dict[str, Any]:
    headers = {f"gatewayresponse.header.{name}": f"'{value}'" for name, value in CORS_HEADERS.items()}
    return {
        name: {
            "statusCode": str(status),
            "responseParameters": headers,
            "responseTemplates": {"application/json": json.dumps(dict(answer))},
        }
        for name, (status, answer) in GATEWAY_ANSWERS.items()
    }


def make_api(stack: Stack, settings: Settings, functions: Iterable[Function], part: Part = "") -> Api:
    """Make an API with its one stage. The logical IDs of its resources begin with `part`.

    A deployment is a copy of the API's routes, so each change of the OpenAPI document makes a new deployment.
    """
    return _make_rest(stack, settings, openapi(settings, functions, part), part)


def make_beside(stack: Stack, settings: Settings, functions: Iterable[Function]) -> Api:
    """Make the REST API that stands beside HTTP APIs. It keeps the logical IDs of earlier deployments."""
    return _make_rest(stack, settings, openapi_beside(settings, functions), "Parking")


def _make_rest(stack: Stack, settings: Settings, body: dict[str, Any], part: str) -> Api:
    rate = settings.federation_requests_per_second if part == "Federation" else settings.requests_per_second
    api = apigateway.CfnRestApi(
        stack,
        f"{part}RestApi",
        name=settings.prefix,
        body=body,
        binary_media_types=["*/*"],
        minimum_compression_size=SMALLEST_COMPRESSED,
        endpoint_configuration=apigateway.CfnRestApi.EndpointConfigurationProperty(types=["REGIONAL"]),
    )
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    deployment = apigateway.CfnDeployment(
        stack, f"{part}RestDeployment{digest[:16]}", rest_api_id=api.ref, description=f"routes {digest[:16]}"
    )
    stage = apigateway.CfnStage(
        stack,
        f"{part}RestStage",
        rest_api_id=api.ref,
        deployment_id=deployment.ref,
        stage_name=STAGE,
        method_settings=[
            apigateway.CfnStage.MethodSettingProperty(
                http_method="*",
                resource_path="/*",
                throttling_rate_limit=rate,
                throttling_burst_limit=burst(rate),
            )
        ],
    )
    return Api(api.ref, f"/{STAGE}", api, deployment, stage)


def one_by_one(apis: Sequence[Api]) -> None:
    """Make each API wait for the previous one, and each deployment for the previous stage.

    API Gateway creates one API in three seconds and one deployment in five, for a whole account.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
    """
    for before, api in itertools.pairwise(apis):
        api.resource.add_resource_dependency(before.resource)
        api.deployment.add_resource_dependency(before.stage)


def burst(rate: int) -> int:
    """Return how many requests a method may get at once: at most the account's quota."""
    return min(2 * rate, MOST_BURST)


def origin_domain(api_id: str) -> str:
    """Return the domain name that API Gateway gives an API."""
    return Fn.join("", [api_id, Fn.sub(".execute-api.${AWS::Region}.${AWS::URLSuffix}")])
