"""Where moto's CloudFormation does otherwise than AWS's, and the deployment depends on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from moto.cloudformation import parsing
from moto.cloudformation.models import CloudFormationBackend

from infra_cdk.rehearsal.custom_resource import CustomResource


def install() -> None:
    """Correct it for this process."""
    replaced = (
        (parsing, "CustomModel", CustomResource),
        (parsing.ResourceMap, "delete", _users_first(parsing.ResourceMap.delete)),
        (
            CloudFormationBackend,
            "_resolve_update_parameters",
            _with_defaults(CloudFormationBackend._resolve_update_parameters),
        ),
    )
    for owner, name, value in replaced:
        setattr(owner, name, value)


def _users_first(delete: Callable[[Any], None]) -> Callable[[Any], None]:
    """A deletion of all resources, that begins with those that use others; moto knows no order."""

    def ordered(resources: Any) -> None:
        for name, found in list(resources._parsed_resources.items()):
            if isinstance(found, CustomResource):
                found.delete(found.account, found.region)
                del resources._parsed_resources[name]
        delete(resources)

    return ordered


def _with_defaults(resolve: Callable[..., dict[str, str]]) -> Callable[..., dict[str, str]]:
    """The values of an update's parameters: "as before" means the default, for one that had no value."""

    def resolved(backend: Any, instance: Any, incoming_params: list[Mapping[str, Any]]) -> dict[str, str]:
        known = [
            parameter
            for parameter in incoming_params
            if not parameter.get("UsePreviousValue") or parameter["ParameterKey"] in instance.parameters
        ]
        return resolve(backend, instance, known)

    return resolved
