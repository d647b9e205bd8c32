"""Compares the operations that functions can reach with their modules' grants."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from infra_cdk.reach.reading import HANDLER
from infra_cdk.reach.source import Definition, Function, Source, dotted
from infra_cdk.reach.walk import Walk
from infra_shared.grants import GRANTS, covers, file_of
from infra_shared.needs import OBJECTS, Need

ENDPOINT = "endpoint"
"""The decorator of HTTP endpoints. Its keyword `auth` says whether the edge verifies the token first."""
DEFAULT_AUTH = "ACCESS_TOKEN"
VERIFIED_BY = {
    "ACCESS_TOKEN": "authenticate",
    "OPTIONAL_ACCESS_TOKEN": "authenticate",
    "SERVER": "authenticate_server",
}
"""By the endpoint's `auth`: the method of Request that authenticates the request before the handler runs."""


@dataclass
class Finding:
    """The permissions that the functions of a module need, each with its call path, and the undecided
    calls.
    """

    module: str
    needs: dict[Need, str] = field(default_factory=dict)
    undecided: set[str] = field(default_factory=set)

    def lacking(self) -> Iterator[tuple[Need, str]]:
        """Yield the needed permissions that aren't granted, each with the path of calls that leads to it."""
        granted = GRANTS[self.module].needs() if self.module in GRANTS else set()
        for need, way in sorted(self.needs.items()):
            if not any(is_enough(grant, need) for grant in granted):
                yield need, way


def is_enough(grant: Need, need: Need) -> bool:
    """Return whether a grant covers a need.

    For objects, and for names that end with a star, only the part that the source shows is compared.
    """
    if need.kind == OBJECTS or need.resource.endswith("*"):
        alike = need.kind == OBJECTS or grant.resource.startswith(need.resource[:-1])
        return alike and (grant.kind, grant.action) == (need.kind, need.action)
    return covers(grant, need)


def findings(walk: Walk | None = None) -> list[Finding]:
    """Return what the functions of each module can reach, in the source of `walk`; by default in our own
    source.
    """
    walk = walk or Walk(Source())
    found: dict[str, Finding] = {}
    for name, module in walk.source.modules.items():
        handler = module.definitions.get(HANDLER)
        if not name.startswith("functions.") or handler is None or not handler.is_function:
            continue
        group = name.removeprefix("functions.").rpartition(".")[0]
        finding = found.setdefault(group, Finding(group))
        reached = walk.reach(roots(walk.source, handler), group)
        finding.undecided |= reached.undecided
        for need in reached.needs:
            finding.needs.setdefault(need, f"{name.rpartition('.')[2]}: {reached.way(need)}")
    return list(found.values())


def roots(source: Source, handler: Definition) -> list[Definition]:
    """Return the definitions at which a function starts: its handler, and the code that the Lambda decorator
    calls before.
    """
    found = [handler]
    for decorator in handler.node.decorator_list if isinstance(handler.node, Function) else ():
        if not isinstance(decorator, ast.Call):
            continue
        made_by = source.named(handler.module, dotted(decorator.func))
        if not isinstance(made_by, Definition):
            continue
        if made_by.name != ENDPOINT:
            found.append(made_by)
        elif method := VERIFIED_BY.get(_auth_of(decorator)):
            request = source.named(made_by.module, "Request")
            verified = source.member(request, method) if isinstance(request, Definition) else None
            if verified is None:
                raise LookupError(f"{made_by.module} has no Request.{method}, by which requests are verified")
            found.append(verified)
    return found


def _auth_of(decorator: ast.Call) -> str:
    given = next((each.value for each in decorator.keywords if each.arg == "auth"), None)
    return dotted(given).rpartition(".")[2] if given is not None else DEFAULT_AUTH


def complaints(found: list[Finding]) -> list[str]:
    """Return a line for each missing grant, with the file to edit, and for each undecided call."""
    lines = []
    for finding in found:
        for need, way in finding.lacking():
            lines.append(
                f"{finding.module} can reach {need.action} on {need.kind} {need.resource}, which "
                f"{file_of(finding.module)} doesn't grant it ({way})"
            )
    decisions = Path(__file__).with_name("decisions.py").name
    undecided = sorted({line for finding in found for line in finding.undecided})
    return [*lines, *(f"not decided, {decisions} must: {line}" for line in undecided)]
