"""What the template says where functions' routes have HTTP APIs."""

from __future__ import annotations

import re
from typing import Any

import pytest

from infra_cdk.parts.edge import PARKING
from infra_cdk.parts.http_api import MOST_ROUTES, http_openapi
from infra_cdk.settings import Settings
from infra_shared import uploads
from infra_shared.apis import PARTS
from infra_shared.parking import PATH
from tests.infra.conftest import PREFIX, Synthesised, functions

pytestmark = pytest.mark.xdist_group("template")  # which is synthesised once for them all
INTEGRATIONS = "x-amazon-apigateway-integrations"


def bodies(stack: Synthesised, kind: str) -> dict[str, dict[str, Any]]:
    """The documents of the APIs of a kind."""
    found = stack.of_type(kind).items()
    return {name: api["Properties"]["Body"] for name, api in found if "Body" in api["Properties"]}


def routed(body: dict[str, Any]) -> dict[tuple[str, str], str]:
    """The function of each method and path, by its physical name."""
    found = {}
    shared = body.get("components", {}).get(INTEGRATIONS, {})
    for path, methods in body["paths"].items():
        for method, operation in methods.items():
            integration = operation["x-amazon-apigateway-integration"]
            if reference := integration.get("$ref"):
                integration = shared[reference.rpartition("/")[2]]
            if name := re.search(r":function:([^/]+)/invocations$", integration["uri"]["Fn::Sub"]):
                found[method, path] = name[1]
    return found


def test_they_have_the_routes_of_the_rest_apis(stack: Synthesised, http_stack: Synthesised) -> None:
    rest, http = bodies(stack, "AWS::ApiGateway::RestApi"), bodies(http_stack, "AWS::ApiGatewayV2::Api")
    assert {name.removesuffix("HttpApi") for name in http} == set(PARTS)
    for part in PARTS:
        routes = routed(rest[f"{part}RestApi"])
        routes = {
            (method, path): function
            for (method, path), function in routes.items()
            if path != PATH and not path.startswith(uploads.PREFIX)
        }
        assert routed(http[f"{part}HttpApi"]) == routes


def test_events_are_those_of_rest_apis(http_stack: Synthesised) -> None:
    for body in bodies(http_stack, "AWS::ApiGatewayV2::Api").values():
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


def test_the_queues_have_the_one_rest_api(http_stack: Synthesised, stack_with: Any) -> None:
    """An HTTP API has no mapping templates, by which a waiting client is answered."""
    (body,) = bodies(http_stack, "AWS::ApiGateway::RestApi").values()
    assert list(body["paths"]) == [PATH]
    assert list(body["paths"][PATH]) == ["get", "post"]
    (distribution,) = http_stack.properties("AWS::CloudFront::Distribution")
    (origin,) = (each for each in distribution["DistributionConfig"]["Origins"] if each["Id"] == PARKING)
    assert origin["OriginPath"] == "/live"
    (viewer,) = http_stack.properties("AWS::CloudFront::Function")
    assert viewer["FunctionCode"].startswith("import cf from 'cloudfront';\n")
    assert "const HTTP_APIS = true;" in viewer["FunctionCode"]
    held = stack_with(api="http", waiting="held")
    assert not held.of_type("AWS::ApiGateway::RestApi")


def test_a_stage_shows_what_was_deployed(http_stack: Synthesised) -> None:
    stages = [
        found
        for found in http_stack.properties("AWS::ApiGatewayV2::Stage")
        if found["StageName"] == "$default"
    ]
    assert len(stages) == len(PARTS)
    for found in stages:
        assert found["AutoDeploy"] is False
        assert found["DeploymentId"]["Ref"] in http_stack.resources
        throttle = found["DefaultRouteSettings"]
        assert throttle["ThrottlingRateLimit"] <= throttle["ThrottlingBurstLimit"] <= 5_000


def test_browsers_may_read_what_it_answers_by_itself(stack: Synthesised, http_stack: Synthesised) -> None:
    def cors(found: Synthesised) -> Any:
        policy = found.resources["HeadersPolicy"]["Properties"]["ResponseHeadersPolicyConfig"]
        return policy.get("CorsConfig")

    assert cors(stack) is None
    assert cors(http_stack)["AccessControlAllowOrigins"] == {"Items": ["*"]}
    assert cors(http_stack)["OriginOverride"] is False, "what functions say stays"


def test_failing_requests_are_counted_by_what_functions_log(http_stack: Synthesised) -> None:
    """HTTP APIs count errors by their IDs: an alarm on each would be too many."""
    (counted,) = http_stack.properties("AWS::Logs::MetricFilter")
    assert counted["FilterPattern"] == '{ $.level = "ERROR" }'
    (metric,) = counted["MetricTransformations"]
    alarms = {found["AlarmName"]: found for found in http_stack.properties("AWS::CloudWatch::Alarm")}
    alarm = alarms[f"{PREFIX}-api-errors"]
    assert (alarm["Namespace"], alarm["MetricName"]) == (metric["MetricNamespace"], metric["MetricName"])
    assert len(alarms) <= 10


def test_functions_know_that_they_compress(stack: Synthesised, http_stack: Synthesised) -> None:
    for found, api in ((stack, "rest"), (http_stack, "http")):
        for function in found.properties("AWS::Lambda::Function"):
            if "Environment" in function:
                assert function["Environment"]["Variables"]["MURMURATION_API"] == api
