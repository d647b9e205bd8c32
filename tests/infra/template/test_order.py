"""The order in which CloudFormation creates the resources, by their references."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from graphlib import TopologicalSorter
from typing import Any

import pytest

from infra_cdk.rehearsal.order import named
from infra_shared.apis import PARTS
from tests.infra.conftest import REST, StackWith, Synthesised

pytestmark = pytest.mark.xdist_group("template")  # which is synthesised once for them all
MOST_AT_ONCE = 10
FUNCTION = "AWS::Lambda::Function"


def dependencies(stack: Synthesised) -> dict[str, set[str]]:
    """Return the dependencies of each resource: by DependsOn, or because it refers to them.

    A resource in a nested stack depends on everything that the nested stack depends on. The nested stack
    depends on the resources in it.
    """
    found = _within(stack.template, set())
    for name, template in stack.nested.items():
        inner = _within(template, found[name])
        found |= inner
        found[name] |= set(inner)
    return found


def _within(template: Mapping[str, Any], waited_for: set[str]) -> dict[str, set[str]]:
    resources = template["Resources"]
    return {
        name: waited_for | {other for other in named(found) if other in resources}
        for name, found in resources.items()
    }


def _before(graph: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return the resources that exist before each resource."""
    found: dict[str, set[str]] = {}
    for name in TopologicalSorter(graph).static_order():
        found[name] = set().union(*(found[other] | {other} for other in graph[name]))
    return found


def waves(stack: Synthesised) -> list[list[str]]:
    """Return the functions that can be made at the same time, in order, if each wave ends before
    the next begins.
    """
    graph = dependencies(stack)
    kinds = {name: found["Type"] for name, found in stack.resources.items()}
    level: dict[str, int] = {}
    for name in TopologicalSorter(graph).static_order():  # raises CycleError
        before = max((level[other] for other in graph[name]), default=0)
        level[name] = before + (kinds[name] == FUNCTION)
    found: dict[int, list[str]] = {}
    for name, kind in kinds.items():
        if kind == FUNCTION:
            found.setdefault(level[name], []).append(name)
    return [found[number] for number in sorted(found)]


def test_at_most_ten_functions_are_made_at_once(stack: Synthesised) -> None:
    found = waves(stack)
    assert sum(map(len, found)) == len(stack.of_type(FUNCTION))
    assert max(map(len, found)) <= MOST_AT_ONCE


def test_no_function_has_more_than_ten_that_wait_for_it(stack: Synthesised) -> None:
    """So a slow function delays only its own chain, and the resources that come after all workers.

    A nested stack waits as one resource, so only dependencies within its template count.
    """
    functions = stack.of_type(FUNCTION)
    waited_for = Counter(
        other
        for template in stack.templates
        for name, others in _within(template, set()).items()
        for other in others
        if name in functions and other in functions
    )
    assert max(waited_for.values()) <= MOST_AT_ONCE


def test_workers_come_before_what_clients_call(stack: Synthesised) -> None:
    functions = stack.of_type(FUNCTION)
    workers = {name for name, found in functions.items() if ".workers." in found["Properties"]["Handler"]}
    assert workers
    before = _before(dependencies(stack))
    assert all(workers <= before[name] for name in set(functions) - workers - {"FunctionMakeSecrets"})


def test_what_workers_and_clients_share_is_made_before_both(stack: Synthesised) -> None:
    graph = dependencies(stack)
    first = waves(stack)[0]
    assert first == ["FunctionMakeSecrets"]
    for name, found in stack.of_type(FUNCTION).items():
        if found["Properties"]["Handler"].startswith("functions."):
            assert {"LayerCode", "LayerDependencies"} <= graph[name]


def test_the_distribution_waits_for_the_apis_stages(
    stack: Synthesised, rest_stack: Synthesised, stack_to_try: Synthesised
) -> None:
    """CloudFront must not send requests to an API that doesn't work yet."""
    assert {f"{part}RestStage" for part in PARTS} <= dependencies(rest_stack)["Distribution"]
    stages = {f"{part}HttpStage" for part in PARTS} | {"ParkingRestStage"}
    assert stages <= dependencies(stack)["Distribution"]
    # Without a domain, functions are told the distribution's address, so it comes before them.
    without_domain = dependencies(stack_to_try)
    assert not stages & _before(without_domain)["Distribution"]
    assert "Distribution" in without_domain["FunctionClientServerSync"]


@pytest.mark.parametrize("api", ["http", "rest"])
def test_an_api_changes_once_its_functions_are_there(stack_with: StackWith, api: str) -> None:
    """A stage's deployment routes the requests. It must not lead to a function that doesn't exist yet."""
    stack = stack_with(**(REST if api == "rest" else {}))
    before = _before(dependencies(stack))
    names = {found["Properties"]["FunctionName"]: name for name, found in stack.of_type(FUNCTION).items()}
    seen: set[str] = set()
    for kind in ("AWS::ApiGateway::Deployment", "AWS::ApiGatewayV2::Deployment"):
        for deployment, found in stack.of_type(kind).items():
            reference = found["Properties"].get("RestApiId") or found["Properties"]["ApiId"]
            body = json.dumps(stack.resources[reference["Ref"]]["Properties"]["Body"])
            called = set(re.findall(r":function:([^/]+)/invocations", body))
            assert {names[each] for each in called} <= before[deployment]
            seen |= called
    assert len(seen) > 200


@pytest.mark.parametrize("api", ["http", "rest"])
def test_apis_and_their_deployments_are_made_one_by_one(stack_with: StackWith, api: str) -> None:
    """API Gateway makes one REST API in three seconds and one deployment in five, for a whole account."""
    stack = stack_with(**(REST if api == "rest" else {}))
    before = _before(dependencies(stack))
    for kinds in (
        ("AWS::ApiGateway::RestApi", "AWS::ApiGatewayV2::Api"),
        ("AWS::ApiGateway::Deployment", "AWS::ApiGatewayV2::Deployment"),
    ):
        made = [name for kind in kinds for name in stack.of_type(kind) if name != "SocketApi"]
        assert len(made) == len(PARTS) + (api == "http")  # which has a REST API beside
        ordered = sorted(made, key=lambda name: len(before[name] & set(made)))
        assert [len(before[name] & set(made)) for name in ordered] == list(range(len(made)))


def test_tables_with_indexes_are_made_one_by_one(stack: Synthesised) -> None:
    """DynamoDB refuses to make several of them at once."""
    before = _before(dependencies(stack))
    tables = stack.of_type("AWS::DynamoDB::Table")
    indexed = {
        name
        for name, found in tables.items()
        if {"LocalSecondaryIndexes", "GlobalSecondaryIndexes"} & set(found["Properties"])
    }
    assert len(indexed) > 1
    assert sorted(len(before[name] & indexed) for name in indexed) == list(range(len(indexed)))
