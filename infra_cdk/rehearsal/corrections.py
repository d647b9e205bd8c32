"""Corrects moto's CloudFormation where it differs from AWS's in a way that affects the deployment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from moto.cloudformation import parsing
from moto.cloudformation.models import CloudFormationBackend, Stack

from infra_cdk.rehearsal import updates
from infra_cdk.rehearsal.custom_resource import CustomResource


def install() -> None:
    """Replace the parts of moto that are listed in `corrections`, for this process."""
    for owner, name, value in corrections():
        setattr(owner, name, value)


def corrections() -> tuple[tuple[Any, str, Any], ...]:
    """Return the replacements: each an object of moto, the name of its attribute, and the new value."""
    delete = _users_first(parsing.ResourceMap.delete)
    return (
        (parsing, "CustomModel", CustomResource),
        (parsing.ResourceMap, "delete", _with_policy(delete, RetainExceptOnCreate="Retain")),
        (parsing.ResourceMap, "update", updates.update_resources),
        (Stack, "update", updates.update_stack),
        (Stack, "create_from_cloudformation_json", classmethod(updates.create_nested)),
        (Stack, "update_from_cloudformation_json", classmethod(updates.update_nested)),
        (
            Stack,
            "create_resources",
            _rolled_back(Stack.create_resources, _with_policy(delete, RetainExceptOnCreate="Delete")),
        ),
        (
            CloudFormationBackend,
            "_resolve_update_parameters",
            _with_defaults(CloudFormationBackend._resolve_update_parameters),
        ),
    )


def _with_policy(delete: Callable[[Any], None], **meant: str) -> Callable[[Any], None]:
    """Return a deletion that replaces some deletion policies by others (`meant`), because moto knows only
    `Retain`.
    """

    def deleted(resources: Any) -> None:
        for found in resources._resource_json_map.values():
            if (policy := found.get("DeletionPolicy")) in meant:
                found["DeletionPolicy"] = meant[policy]
        delete(resources)

    return deleted


def _rolled_back(create: Callable[[Any], None], delete: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return a creation that deletes what it created if a resource can't be created. moto would leave
    everything.
    """

    def created(stack: Any) -> None:
        try:
            create(stack)
        except Exception as error:  # noqa: BLE001 - whatever a resource raises
            stack.status = "ROLLBACK_COMPLETE"
            try:
                delete(stack.resource_map)
            except Exception as left:  # noqa: BLE001
                stack.status = "ROLLBACK_FAILED"
                stack._add_stack_event("ROLLBACK_FAILED", resource_status_reason=str(left))
            # reading an output would create the resource that it refers to
            stack.output_map._output_json_map = {}
            stack._add_stack_event(stack.status, resource_status_reason=str(error))

    return created


def _users_first(delete: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return a deletion that deletes a resource before those to which it refers. moto uses no order."""

    def ordered(resources: Any) -> None:
        for name, found in list(resources._parsed_resources.items()):
            if isinstance(found, CustomResource):
                found.delete(found.account, found.region)
                del resources._parsed_resources[name]
        delete(resources)

    return ordered


def _with_defaults(resolve: Callable[..., dict[str, str]]) -> Callable[..., dict[str, str]]:
    """Return a function for the values of an update's parameters.

    "As before" means the default value for a parameter that had no value before.
    """

    def resolved(backend: Any, instance: Any, incoming_params: list[Mapping[str, Any]]) -> dict[str, str]:
        known = [
            parameter
            for parameter in incoming_params
            if not parameter.get("UsePreviousValue") or parameter["ParameterKey"] in instance.parameters
        ]
        return resolve(backend, instance, known)

    return resolved
