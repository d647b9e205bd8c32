"""How the deployment is divided into stacks and APIs, and that each has room to grow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import pytest

from infra_cdk.parts.api import count_nodes, openapi
from infra_cdk.settings import Settings
from infra_shared.apis import PARTS, part_of
from tests.infra.conftest import PREFIX, REST, StackWith, Synthesised, functions, physical_names

pytestmark = pytest.mark.xdist_group("template")  # which is synthesised once for them all
MORE = 120
"""How many more functions there must be room for, with a module of their own for each four of them."""


@pytest.mark.parametrize("api", ["http", "rest"])
def test_the_stacks_have_room_to_grow(stack_with: StackWith, api: str) -> None:
    """Each template may have 500 resources and 1 MB. There is room for 120 more functions for clients, or for
    servers.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
    """
    stack = stack_with(**(REST if api == "rest" else {}))
    function = _mean_size(stack.of_type("AWS::Lambda::Function"))
    role = _mean_size(stack.of_type("AWS::IAM::Role"))
    for name, template in stack.nested.items():
        size = len(json.dumps(template, separators=(",", ":")))
        print(f"{name}: {len(template['Resources'])} resources, {size} bytes")
        assert not template.get("Outputs"), "nothing refers to what is in a nested stack"
        assert len(template["Resources"]) + MORE + MORE // 4 <= 500
        assert size + MORE * function + MORE // 4 * role < 1_000_000
    paths = [body["paths"] for body in stack.api_documents.values()]
    route = _mean_size({path: methods for each in paths for path, methods in each.items()})
    size = stack.path.stat().st_size
    print(f"the first stack: {len(stack.template['Resources'])} resources, {size} bytes")
    assert len(stack.template["Resources"]) < 350
    assert size + MORE * route < 1_000_000


def _mean_size(found: Mapping[str, Any]) -> int:
    return len(json.dumps(found, separators=(",", ":"))) // len(found)


def test_the_apis_have_room_to_grow() -> None:
    """Each API may have 300 path nodes."""
    for part in PARTS:
        nodes = count_nodes(openapi(Settings(server_name="example.org"), functions(), part)["paths"])
        print(f"{part or 'the first API'}: {nodes} path nodes")
        assert nodes < 200


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/_matrix/client/v3/rooms/!a:b/send/m.room.message/1", "Rooms"),
        ("/_matrix/client/v3/user/@a:b/rooms/!a:b/tags", "Rooms"),
        ("/_matrix/client/api/v1/rooms/!a:b/send/m.room.message", "Drafts"),
        ("/_matrix/client/v2/rooms/!a:b/state", "Drafts"),
        ("/_matrix/client/v3/sync", ""),
        ("/_matrix/client/v3/room_keys/keys/!a:b", "Keys"),
        ("/_matrix/client/v3/keys/upload", "Keys"),
        ("/_matrix/client/v3/login", ""),
        ("/_matrix/federation/v1/send/1", "Federation"),
        ("/_matrix/media/v3/download/a/b", "Media"),
        ("/_matrix/client/v1/media/download/a/b", "Media"),
    ],
)
def test_cloudfront_finds_the_api_that_has_a_path(stack: Synthesised, path: str, part: str) -> None:
    (distribution,) = stack.properties("AWS::CloudFront::Distribution")
    config = distribution["DistributionConfig"]
    origin = next(
        (
            each["TargetOriginId"]
            for each in config["CacheBehaviors"]
            if fnmatchcase(path, each["PathPattern"])
        ),
        config["DefaultCacheBehavior"]["TargetOriginId"],
    )
    assert origin == (part.lower() or "rest")
    assert part_of(path) == part


def test_a_function_is_named_by_where_it_is(stack: Synthesised) -> None:
    """A function that moved between stacks has another name than before, since both exist during the
    upgrade.
    """
    for name, template in [("", stack.template), *stack.nested.items()]:
        names = [
            found["Properties"]["FunctionName"].removeprefix(f"{PREFIX}-").partition("-")[0]
            for found in template["Resources"].values()
            if found["Type"] == "AWS::Lambda::Function"
        ]
        division = name.partition("NestedStack")[0]
        first = {"client_server", "client_v1", "client_v2", "workers", "queue", "websocket", "deployment"}
        assert set(names) == {"": first, "Clients": {"client"}, "Federation": {"federation"}}[division]


def test_what_other_servers_call_is_apart(stack: Synthesised) -> None:
    """These endpoints have a stack, an API and a throttle of their own. CloudFront finds them by the path."""
    (nested,) = (template for name, template in stack.nested.items() if name.startswith("Federation"))
    within = {
        found["Properties"]["FunctionName"]
        for found in nested["Resources"].values()
        if found["Type"] == "AWS::Lambda::Function"
    }
    names = physical_names()
    assert within == {name for module, name in names.items() if module.startswith("functions.server_server.")}
    assert all(name.startswith(f"{PREFIX}-federation-") for name in within)
    paths = {name: set(body["paths"]) - {"/", "/{proxy+}"} for name, body in stack.api_documents.items()}
    theirs = ("/_matrix/federation/", "/_matrix/key/")
    assert all(path.startswith(theirs) for path in paths["FederationHttpApi"])
    others = [found for name, found in paths.items() if name != "FederationHttpApi"]
    assert not any(path.startswith(theirs) for path in set().union(*others))
    rates = {
        found["ApiId"]["Ref"]: found["DefaultRouteSettings"]["ThrottlingRateLimit"]
        for found in stack.properties("AWS::ApiGatewayV2::Stage")
    }
    assert rates["FederationHttpApi"] < rates["HttpApi"]
    (distribution,) = stack.properties("AWS::CloudFront::Distribution")
    behaviours = distribution["DistributionConfig"]["CacheBehaviors"]
    origins = {each["PathPattern"]: each["TargetOriginId"] for each in behaviours}
    assert origins["/_matrix/federation/*"] == origins["/_matrix/key/*"] == "federation"
    assert origins["/_matrix/key/v2/server*"] == "federation"
