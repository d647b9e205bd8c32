"""The order in which CloudFormation makes resources: each after those that it refers to or depends on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from typing import Any


def in_order(resources: Mapping[str, Any]) -> list[str]:
    """Return the logical IDs of a template's resources, each after its dependencies. Raises CycleError."""
    graph = {
        name: {other for other in named(found) if other in resources} for name, found in resources.items()
    }
    return list(TopologicalSorter(graph).static_order())


def named(value: Any) -> Iterator[str]:
    """Yield the logical IDs that a part of a template refers to or depends on."""
    match value:
        case {"DependsOn": found, **rest}:
            yield from [found] if isinstance(found, str) else found
            yield from named(rest)
        case {"Ref": str(name)}:
            yield name
        case {"Fn::GetAtt": [str(name), *_]}:
            yield name
        case {"Fn::Sub": found}:
            text, values = (found, {}) if isinstance(found, str) else found
            yield from (name.partition(".")[0] for name in re.findall(r"\$\{([^}!]+)\}", text))
            yield from named(values)
        case dict():
            for inner in value.values():
                yield from named(inner)
        case list():
            for inner in value:
                yield from named(inner)
