"""API Gateway's resource tree: it finds the function for a path, and the path's parameters.

A static part takes precedence over `{name}`, which takes precedence over `{name+}`. The path is matched as
sent, with its percent-encoding, so an encoded slash doesn't split a part. A trailing slash is ignored. Two
siblings that are both parameters must have the same name, because API Gateway refuses to create the second.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from local_cloud.lambdas import Function


class RouteConflict(Exception):
    """API Gateway would refuse these routes. The message says which and why."""


@dataclass(slots=True)
class Resource:
    """A node of the tree; `path` is the resource's path, `id` its identifier."""

    path: str
    id: str
    static: dict[str, Resource] = field(default_factory=dict)
    parameter: tuple[str, Resource] | None = None
    greedy: tuple[str, Resource] | None = None
    methods: dict[str, Function] = field(default_factory=dict)


class Match(NamedTuple):
    """The resource and function of a request. `parameters` aren't decoded. `function` is None if the method
    is missing.
    """

    resource: Resource
    parameters: dict[str, str] | None
    function: Function | None


class Routes:
    """The tree of all HTTP routes.

    A method that a resource lacks goes to the resource's GET function, or else to the fallback, the function
    of `ANY /{proxy+}`: the deployment's resources all have an ANY method for it.
    """

    def __init__(self, routes: Iterable[tuple[str, str, Function]]) -> None:
        self._count = 0
        self._root = self._resource("/")
        for method, path, function in routes:
            resource = self._insert(path)
            if method in resource.methods:
                other = resource.methods[method].name
                raise RouteConflict(f"{method} {path} is the route of both {other} and {function.name}")
            resource.methods[method] = function
        self._fallback = self._root.greedy[1].methods.get("ANY") if self._root.greedy else None
        if self._fallback is not None:
            self._root.methods.setdefault("ANY", self._root.methods.get("GET") or self._fallback)

    def _resource(self, path: str) -> Resource:
        self._count += 1
        return Resource(path, f"res{self._count:06d}")

    def _insert(self, path: str) -> Resource:
        resource = self._root
        for part in path.strip("/").split("/"):
            if not part:
                continue
            child_path = f"{resource.path.rstrip('/')}/{part}"
            if part.startswith("{"):
                resource = self._insert_parameter(resource, part, child_path)
            else:
                if part not in resource.static:
                    resource.static[part] = self._resource(child_path)
                resource = resource.static[part]
        return resource

    def _insert_parameter(self, resource: Resource, part: str, path: str) -> Resource:
        greedy = part.endswith("+}")
        name = part[1:-2] if greedy else part[1:-1]
        existing = resource.greedy if greedy else resource.parameter
        if existing is None:
            existing = (name, self._resource(path))
            if greedy:
                resource.greedy = existing
            else:
                resource.parameter = existing
        elif existing[0] != name:
            raise RouteConflict(
                f"{path}: its sibling {existing[1].path} has another name for the same part, "
                "which API Gateway does not allow"
            )
        return existing[1]

    def match(self, path: str, method: str) -> Match | None:
        """Return the match for a raw path, or None."""
        parts = path.split("/")[1:]
        if parts and not parts[-1]:
            parts.pop()
        found: list[tuple[str, str]] = []
        resource = _walk(self._root, parts, 0, found)
        if resource is None:
            return None
        methods = resource.methods
        function = methods.get(method) or methods.get("ANY")
        if function is None and self._fallback is not None:
            function = methods.get("GET") or self._fallback
        return Match(resource, dict(found) or None, function)


def _walk(resource: Resource, parts: list[str], at: int, found: list[tuple[str, str]]) -> Resource | None:
    if at == len(parts):
        return resource if resource.methods else None
    part = parts[at]
    child = resource.static.get(part)
    if child is not None:
        deeper = _walk(child, parts, at + 1, found)
        if deeper is not None:
            return deeper
    if resource.parameter is not None and part:
        name, child = resource.parameter
        found.append((name, part))
        deeper = _walk(child, parts, at + 1, found)
        if deeper is not None:
            return deeper
        found.pop()
    if resource.greedy is not None:
        name, child = resource.greedy
        found.append((name, "/".join(parts[at:])))
        return child
    return None
