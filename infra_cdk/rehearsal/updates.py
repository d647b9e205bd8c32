"""Updates stacks in moto in the way in which CloudFormation does it.

moto makes all new resources before it changes any, and deletes old ones first. It compares the templates
only, so it misses a resource that changes because a resource that it refers to was replaced. An update that
fails stays unfinished. When the CDK asks again, moto reports that there is nothing to do, and a success.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.cloudformation.models import Stack, cloudformation_backends
from moto.cloudformation.parsing import clean_json, parse_and_update_resource
from moto.cloudformation.utils import get_stack_from_s3_url
from moto.utilities.utils import get_partition

from infra_cdk.rehearsal.order import in_order

Resolved = dict[str, Any]
"""The properties by logical ID with which each resource was last made or changed, with references
resolved."""


class UpdateFailed(Exception):
    """An update failed, and its changes were rolled back. The message says what failed."""


class NestedStackFailed(Exception):
    """A stack within another one could not be made or changed; the message is its status."""


def update_resources(
    resources: Any, template: dict[str, Any], parameters: dict[str, Any] | None = None
) -> None:
    """Change a stack's resources to those of `template`. This is a ResourceMap's method.

    If this fails, the changes are rolled back. Then it raises UpdateFailed, or the error of the rollback.
    """
    before, had = resources._template, dict(resources.input_parameters)
    made = {
        name: _resolved(found, resources)
        for name, found in resources._resource_json_map.items()
        if name in resources._parsed_resources
    }
    try:
        _change(resources, template, parameters, made)
    except Exception as error:
        _change(resources, before, had, made, goes_back=True)
        raise UpdateFailed(f"{type(error).__name__}: {error}") from error


def _change(
    resources: Any,
    template: dict[str, Any],
    parameters: dict[str, Any] | None,
    made: Resolved,
    *,
    goes_back: bool = False,
) -> None:
    """Make and change each resource after its dependencies, then delete those that `template` lacks.

    `made` is kept up to date, so that the rollback changes only changed resources.
    """
    old = resources._resource_json_map
    resources._template = template
    if parameters:
        resources.input_parameters = parameters
    resources.load_mapping()
    resources.load_parameters()
    resources.load_conditions()
    resources._resource_json_map = template["Resources"]
    for name in in_order(template["Resources"]):
        found = template["Resources"][name]
        if name not in made:
            if resources[name] is not None:  # asking for a resource makes it
                made[name] = _resolved(found, resources)
        elif made[name] != (now := _resolved(found, resources)):
            changed = parse_and_update_resource(
                name, found, resources, account_id=resources._account_id, region_name=resources._region_name
            )
            resources._parsed_resources[name] = changed or resources._parsed_resources[name]
            made[name] = now
    for name in reversed(in_order(old)):
        if name in made and name not in template["Resources"]:
            _delete(resources, name, old[name], goes_back=goes_back)
            del made[name]


def _delete(resources: Any, name: str, found: Mapping[str, Any], *, goes_back: bool) -> None:
    """Delete a resource that its stack lacks now, unless its policy is to retain it."""
    policy = found.get("DeletionPolicy", "Delete")
    if policy == "Delete" or (goes_back and policy == "RetainExceptOnCreate"):
        resources._delete_resource(resources._parsed_resources[name], found)
    del resources._parsed_resources[name]


def _resolved(found: Mapping[str, Any], resources: Any) -> Any:
    return clean_json(found.get("Properties", {}), resources)


def update_stack(
    stack: Any,
    template: str,
    role_arn: str | None = None,
    parameters: dict[str, Any] | None = None,
    tags: dict[str, str] | None = None,
) -> None:
    """Update a stack; its status says whether that succeeded. This is a Stack's method."""
    before = stack.template
    try:
        _moto_update(stack, template, role_arn, parameters, tags)
    except Exception as error:  # noqa: BLE001 - whatever a resource raises
        stack.template = before
        stack._parse_template()
        taken_back = isinstance(error, UpdateFailed)
        stack._add_stack_event("UPDATE_FAILED", resource_status_reason=str(error))
        stack.status = "UPDATE_ROLLBACK_COMPLETE" if taken_back else "UPDATE_ROLLBACK_FAILED"
        stack._add_stack_event(stack.status, resource_status_reason=str(error))


_moto_update = Stack.update


# -- Stacks within stacks --------------------------------------------------------------------------------


def create_nested(
    _cls: Any, /, name: str, cloudformation_json: Mapping[str, Any], account: str, region: str, **_: Any
) -> Any:
    """Create a nested stack. This is a Stack's class method. If it fails, raises NestedStackFailed, and
    nothing is left.
    """
    body, parameters = _nested(cloudformation_json, account, region)
    backend = cloudformation_backends[account][region]
    made = backend.create_stack(name=name, template=body, parameters=parameters)
    if made.status != "CREATE_COMPLETE":
        backend.delete_stack(name)
    return _stands(made)


def update_nested(
    _cls: Any,
    /,
    original_resource: Any,
    new_resource_name: str,  # noqa: ARG001 - moto's signature
    cloudformation_json: Mapping[str, Any],
    account_id: str,
    region_name: str,
) -> Any:
    """Update a nested stack, which moto would delete and make again. Raises NestedStackFailed."""
    body, parameters = _nested(cloudformation_json, account_id, region_name)
    original_resource.update(body, parameters=parameters)
    return _stands(original_resource)


def _nested(cloudformation_json: Mapping[str, Any], account: str, region: str) -> tuple[str, dict[str, Any]]:
    """Return the template and the parameters of a nested stack."""
    properties = cloudformation_json["Properties"]
    url = properties["TemplateURL"]
    body = get_stack_from_s3_url(url, account_id=account, partition=get_partition(region))
    return body, properties.get("Parameters", {})


def _stands(stack: Any) -> Any:
    """Return the stack. Raises NestedStackFailed if it wasn't made or changed."""
    if stack.status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        raise NestedStackFailed(
            f"{stack.name} is in {stack.status}: {stack.events[-1].resource_status_reason}"
        )
    return stack
