"""The template for functions' routes with HTTP APIs."""

from __future__ import annotations

from typing import Any

import pytest

from infra_cdk.parts.edge import PARKING
from infra_cdk.parts.http_api import MOST_ROUTES, http_openapi
from infra_cdk.settings import Settings
from infra_shared import uploads
from infra_shared.apis import PARTS
from infra_shared.parking import PATH, PATH_AT_EDGE
from tests.infra.conftest import PREFIX, StackWith, Synthesised, functions

pytestmark = pytest.mark.xdist_group("template")  # which is synthesised once for them all
INTEGRATIONS = "x-amazon-apigateway-integrations"


def bodies(stack: Synthesised) -> dict[str, dict[str, Any]]:
    """Return the documents of the HTTP APIs."""
    apis = stack.of_type("AWS::ApiGatewayV2::Api")
    return {name: body for name, body in stack.api_documents.items() if name in apis}


def test_each_part_has_one(stack: Synthesised) -> None:
    assert {name.removesuffix("HttpApi") for name in bodies(stack)} == set(PARTS)


def test_all_together_have_the_routes_of_the_rest_apis(stack: Synthesised, rest_stack: Synthesised) -> None:
    """Only the fallback's routes for paths that clients can't reach are missing."""
    internal = ("/parked", uploads.PREFIX)
    wanted = {
        (path, method): function
        for (path, method), function in rest_stack.routes().items()
        if not (path.startswith(internal) and method == "x-amazon-apigateway-any-method")
    }
    assert stack.routes() == wanted


def test_events_are_those_of_rest_apis(stack: Synthesised) -> None:
    for body in bodies(stack).values():
        for integration in body["components"][INTEGRATIONS].values():
            assert integration["payloadFormatVersion"] == "1.0"
            assert integration["timeoutInMillis"] < 30_000
            assert integration["credentials"] == {"Fn::GetAtt": ["ApiInvokerRole", "Arn"]}


def test_each_has_room_for_more_routes() -> None:
    for part in PARTS:
        body = http_openapi(Settings(server_name="example.org"), functions(), part)
        routes = sum(map(len, body["paths"].values()))
        print(f"{part or 'the first API'}: {routes} routes")
        assert routes <= MOST_ROUTES - 60
        assert len(body["components"][INTEGRATIONS]) <= MOST_ROUTES - 60


UPLOADS = {
    "/uploads": ["post"],
    "/uploads/{serverName}/{mediaId}": ["put"],
}


@pytest.mark.parametrize(
    ("settings", "queues"),
    [({}, PATH_AT_EDGE), ({"waits": "rest"}, PATH), ({"waiting": "held"}, None)],
)
def test_the_one_rest_api_has_what_they_can_not_do(
    stack_with: StackWith, settings: dict[str, str], queues: str | None
) -> None:
    """An HTTP API has no mapping templates, by which a waiting client and a large upload are answered."""
    stack = stack_with(**settings)
    (api,) = stack.of_type("AWS::ApiGateway::RestApi")
    paths = stack.api_documents[api]["paths"]
    wanted = UPLOADS | ({queues: ["get", "post"]} if queues else {})
    assert {path: list(methods) for path, methods in paths.items()} == wanted
    (distribution,) = stack.properties("AWS::CloudFront::Distribution")
    (origin,) = (each for each in distribution["DistributionConfig"]["Origins"] if each["Id"] == PARKING)
    assert origin["OriginPath"] == "/live"
    viewer = stack.resources["ViewerFunction"]["Properties"]
    assert viewer["FunctionCode"].startswith("import cf from 'cloudfront';\n")
    assert "const HTTP_APIS = true;" in viewer["FunctionCode"]


def test_the_one_rest_api_stores_uploads_as_its_like_did(stack: Synthesised, rest_stack: Synthesised) -> None:
    theirs = rest_stack.api_documents["MediaRestApi"]
    ours = stack.api_documents["ParkingRestApi"]
    for path, (method,) in UPLOADS.items():
        assert ours["paths"][path][method] == theirs["paths"][path][method]
    assert ours["components"] == theirs["components"]
    assert rest_stack.resources["ApiUploaderRole"] == stack.resources["ApiUploaderRole"]


def test_a_stage_shows_what_was_deployed(stack: Synthesised) -> None:
    stages = [
        found for found in stack.properties("AWS::ApiGatewayV2::Stage") if found["StageName"] == "$default"
    ]
    assert len(stages) == len(PARTS)
    for found in stages:
        assert found["AutoDeploy"] is False
        assert found["DeploymentId"]["Ref"] in stack.resources
        throttle = found["DefaultRouteSettings"]
        assert throttle["ThrottlingRateLimit"] <= throttle["ThrottlingBurstLimit"] <= 5_000


def test_browsers_may_read_what_it_answers_by_itself(stack: Synthesised, rest_stack: Synthesised) -> None:
    def cors(found: Synthesised) -> Any:
        policy = found.resources["HeadersPolicy"]["Properties"]["ResponseHeadersPolicyConfig"]
        return policy.get("CorsConfig")

    for found in (stack, rest_stack):
        assert cors(found)["AccessControlAllowOrigins"] == {"Items": ["*"]}
        assert cors(found)["OriginOverride"] is False, "what functions say stays"


def test_failing_requests_are_counted_by_what_functions_log(stack: Synthesised) -> None:
    """HTTP APIs count errors by their IDs, so there would be too many alarms."""
    (counted,) = stack.properties("AWS::Logs::MetricFilter")
    assert counted["FilterPattern"] == '{ $.level = "ERROR" }'
    (metric,) = counted["MetricTransformations"]
    alarms = {found["AlarmName"]: found for found in stack.properties("AWS::CloudWatch::Alarm")}
    alarm = alarms[f"{PREFIX}-api-errors"]
    assert (alarm["Namespace"], alarm["MetricName"]) == (metric["MetricNamespace"], metric["MetricName"])
    assert len(alarms) <= 10


def test_functions_know_that_they_compress(stack: Synthesised, rest_stack: Synthesised) -> None:
    for found, api in ((rest_stack, "rest"), (stack, "http")):
        for function in found.properties("AWS::Lambda::Function"):
            if "Environment" in function:
                assert function["Environment"]["Variables"]["MURMURATION_API"] == api
