"""The WebSocket API, if functions declare routes for it: API Gateway holds its connections."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Fn, Stack
from aws_cdk import aws_apigatewayv2 as apigatewayv2
from aws_cdk import aws_iam as iam

from infra_cdk.names import logical_id
from infra_cdk.parts.api import burst, invocation_uri, origin_domain
from infra_cdk.settings import Settings
from murmuration.endpoint import Function, WebSocket

STAGE = "ws"
"""The stage is the whole path of a WebSocket API, so clients connect to `/ws`."""


def socket_functions(functions: Sequence[Function]) -> list[tuple[Function, WebSocket]]:
    return [(function, function.route) for function in functions if isinstance(function.route, WebSocket)]


def make_socket_api(stack: Stack, settings: Settings) -> apigatewayv2.CfnApi:
    """Make the API without routes.

    Functions have its ID in their environment, so its routes are made after them.
    """
    return apigatewayv2.CfnApi(
        stack,
        "SocketApi",
        name=f"{settings.prefix}-ws",
        protocol_type="WEBSOCKET",
        route_selection_expression="$request.body.method",
    )


def make_socket_routes(
    stack: Stack,
    settings: Settings,
    api: apigatewayv2.CfnApi,
    functions: Sequence[Function],
    invoker: iam.CfnRole,
) -> None:
    """Make the API's routes, and the stage that serves them.

    A WebSocket API calls functions by POST, which has to be declared.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-apigatewayv2-integration.html
    """
    stage = apigatewayv2.CfnStage(
        stack,
        "SocketStage",
        api_id=api.ref,
        stage_name=STAGE,
        auto_deploy=True,
        default_route_settings=apigatewayv2.CfnStage.RouteSettingsProperty(
            throttling_rate_limit=settings.requests_per_second,
            throttling_burst_limit=burst(settings.requests_per_second),
        ),
    )
    for function, route in socket_functions(functions):
        integration = apigatewayv2.CfnIntegration(
            stack,
            logical_id("socket-integration", function.name),
            api_id=api.ref,
            integration_type="AWS_PROXY",
            integration_method="POST",
            integration_uri=Fn.sub(invocation_uri(settings, function)["Fn::Sub"]),
            credentials_arn=invoker.attr_arn,
        )
        made = apigatewayv2.CfnRoute(
            stack,
            logical_id("socket-route", route.key),
            api_id=api.ref,
            route_key=route.key,
            authorization_type="NONE",
            target=Fn.join("/", ["integrations", integration.ref]),
        )
        stage.add_resource_dependency(made)


def connections_arn(api: apigatewayv2.CfnApi) -> str:
    """Return the ARN of the connections of this API's stage, which functions may manage."""
    account = Fn.sub("arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:")
    return Fn.join("", [account, api.ref, f"/{STAGE}/*/@connections/*"])


def callback_url(api: apigatewayv2.CfnApi) -> str:
    """Return the URL at which functions post messages to connections."""
    return Fn.join("", ["https://", origin_domain(api.ref), f"/{STAGE}"])
