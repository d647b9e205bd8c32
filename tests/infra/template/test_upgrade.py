"""An upgrade from an earlier release's template keeps all resources with data and has no conflicts.

CloudFormation makes what is new before it takes away what is old, so for a while both are there.
"""

from __future__ import annotations

import pytest

from infra_cdk.modules import LEAST_UNRESERVED
from tests.infra.conftest import REST, SETTINGS, StackWith
from tests.infra.released import LASTING, LASTING_RECORDED, Resource, digest, lasting, recorded

pytestmark = pytest.mark.xdist_group("template")  # which is synthesised once for them all
HOLDS_DATA = ("AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::SQS::Queue", "Custom::Secrets")


@pytest.fixture(scope="module", params=["rest", "http"])
def upgraded(request: pytest.FixtureRequest, stack_with: StackWith) -> dict[str, Resource]:
    return digest(stack_with(**(REST if request.param == "rest" else {})))


@pytest.fixture(scope="module")
def before() -> dict[str, Resource]:
    return recorded()


@pytest.mark.parametrize("api", ["http", "rest"])
def test_nothing_that_lasts_is_ever_replaced(stack_with: StackWith, api: str) -> None:
    """CloudFormation replaces a resource if its logical ID or one of these properties changes, and its data
    is lost.

    A new resource is recorded (`tests.infra.released --lasting`), a change never.
    """
    now = lasting(digest(stack_with(**(REST if api == "rest" else {}))))
    kept = recorded(LASTING_RECORDED)
    assert {name: now.get(name) for name in kept} == kept
    assert now.keys() == kept.keys(), "record what is new: see CONTRIBUTING.md, Add a table"
    assert {each.kind for each in now.values()} > LASTING


def test_what_was_recorded_is_a_whole_deployment(before: dict[str, Resource]) -> None:
    kinds = [each.kind for each in before.values()]
    assert kinds.count("AWS::DynamoDB::Table") > 10
    assert kinds.count("AWS::Lambda::Function") > 240


def test_what_holds_data_stays_as_it_is(before: dict[str, Resource], upgraded: dict[str, Resource]) -> None:
    held = {name: found for name, found in before.items() if found.kind in HOLDS_DATA}
    assert {name: upgraded.get(name) for name in held} == held


def test_addresses_stay(before: dict[str, Resource], upgraded: dict[str, Resource]) -> None:
    """These are CloudFront's address and that of the sockets' API, to which clients are connected."""
    for name in ("Distribution", "SocketApi"):
        assert upgraded[name] == before[name]


def test_no_new_resource_has_the_name_of_one_that_is_still_there(
    before: dict[str, Resource], upgraded: dict[str, Resource]
) -> None:
    taken = {(each.kind, each.name): (each.stack, name) for name, each in before.items() if each.name}
    for name, each in upgraded.items():
        at = taken.get((each.kind, each.name), (each.stack, name))
        assert at == (each.stack, name), f"{each.name} is still there as {at} when {name} is made"


def test_there_is_concurrency_for_old_and_new(
    before: dict[str, Resource], upgraded: dict[str, Resource]
) -> None:
    """A function that moved between stacks holds its share twice until the old one is deleted."""
    gone = {each.name: each.reserved for each in before.values() if each.reserved}
    now = {each.name: each.reserved for each in upgraded.values() if each.reserved}
    together = gone | now
    assert gone
    assert int(SETTINGS["account_concurrency"]) - sum(together.values()) >= LEAST_UNRESERVED
