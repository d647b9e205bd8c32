"""The leaves of the walk: functions that send requests to AWS, and the permission that each call needs."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from infra_cdk.reach.decisions import OWN, RESOURCES, is_place
from infra_cdk.reach.source import Definition, Function, Source, dotted
from infra_cdk.reach.types import Scope
from infra_shared.needs import MAIL, OBJECTS, QUEUES, SECRETS, SOCKETS, TABLES, Need, queue_action

MAKES_CLIENTS: Final = "make_client"
"""The function that makes clients of AWS's services: code that names it calls AWS."""
CALLS: Final = "call"
"""The function that calls an operation of a service, both by their names."""
BATCH: Final = "batch_write"
READ, FETCH = "Read", "fetch"
"""A read as a value, which is put into a batch, and the function that reads one alone."""
VALUES: Final = "reads"
"""The module of reads as values, which calls AWS through another one."""
CARRIED_OUT: Final = frozenset(("transact", "execute", "try_execute"))
WRITES: Final = frozenset(("put", "delete"))
_PUT: Final = (Need(QUEUES, "", "find"), Need(QUEUES, "", "send"))
WIRE: Final[Mapping[str, Mapping[str, tuple[Need, ...]]]] = {
    "dynamodb": {
        "get": (Need(TABLES, "", "get"),),
        "batch_get": (Need(TABLES, "", "batch_get"),),
        "query": (Need(TABLES, "", "query"),),
        "query_page": (Need(TABLES, "", "query"),),
        "query_pages": (Need(TABLES, "", "query"),),
        "scan": (Need(TABLES, "", "scan"),),
        "scan_page": (Need(TABLES, "", "scan"),),
        "put": (Need(TABLES, "", "put"),),
        "update": (Need(TABLES, "", "update"),),
        "delete": (Need(TABLES, "", "delete"),),
        "check": (Need(TABLES, "", "check"),),
        "batch_write": (),
        "transact": (),
        "execute": (),
        "try_execute": (),
    },
    "reads": {READ: (Need(TABLES, "", READ),), FETCH: (), "fetch_all": (), "Batch": ()},
    "queues": {
        "put": _PUT,
        "send": (*_PUT, Need(QUEUES, "", "ring")),
        "send_all": (*_PUT, Need(QUEUES, "", "ring")),
        "send_each": (*_PUT, Need(QUEUES, "", "ring")),
        "send_later": (*_PUT, Need(QUEUES, "", "ring"), Need(TABLES, "clock", "put")),
        "ring": (Need(QUEUES, "", "ring"),),
        "receive": (Need(QUEUES, "", "receive"),),
        "delete": (Need(QUEUES, "", "delete"),),
        "waiting": (Need(QUEUES, "", "find"), Need(QUEUES, "", "inspect")),
    },
    "objects": {
        "get": (Need(OBJECTS, "*", "get"),),
        "size_of": (Need(OBJECTS, "*", "get"),),
        "describe": (Need(OBJECTS, "*", "get"),),
        "put": (Need(OBJECTS, "*", "put"),),
        "renew": (Need(OBJECTS, "*", "get"), Need(OBJECTS, "*", "put")),
        "copy": (Need(OBJECTS, "*", "get"), Need(OBJECTS, "*", "put")),
        "delete": (Need(OBJECTS, "*", "delete"),),
    },
    "parameters": {"read_secret": (Need(SECRETS, "", "get"),)},
    "mail": {"send": (Need(MAIL, "*", "send"),)},
    "sockets": {"post": (Need(SOCKETS, "*", "manage"),), "close": (Need(SOCKETS, "*", "manage"),)},
}
"""The modules that call AWS, by the last part of their names, with the permissions that each of their
functions needs. Without a resource, the first argument names it. For objects only the action is checked."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A resource that the caller names, with this parameter."""

    name: str


Resource = str | Parameter | None
"""None if it isn't known."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A function that sends requests to AWS."""

    module: str
    name: str
    needs: tuple[Need, ...]


class Leaves:
    """The leaves of a source."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @cached_property
    def wire(self) -> dict[str, str]:
        """The modules that only send requests to AWS: their full names, each with its last part."""
        found = {}
        for name, module in self._source.modules.items():
            last = name.rpartition(".")[2]
            if (
                last in WIRE
                and last != VALUES
                and any(
                    isinstance(node, ast.Name | ast.alias) and _name_of(node) == MAKES_CLIENTS
                    for node in ast.walk(module.tree)
                )
            ) or (last == VALUES and READ in module.definitions):
                found[name] = last
        if missing := WIRE.keys() - found.values():
            raise LookupError(f"no module of the source is {', '.join(sorted(missing))}; see WIRE")
        return found

    def is_wire(self, module: str) -> bool:
        return module in self.wire

    def of(self, found: Definition) -> Leaf | None:
        """Return the leaf of this definition; None if it isn't a leaf."""
        last = self.wire.get(found.module)
        if last is not None and found.name in WIRE[last]:
            return Leaf(last, found.name, WIRE[last][found.name])
        if found.name == CALLS and "intercept" in self._source.modules[found.module].definitions:
            return Leaf("", CALLS, ())
        return None

    @cached_property
    def tables(self) -> frozenset[str]:
        """The logical names of all tables, from the models' `Meta` classes."""
        return frozenset(
            node.value.value
            for each in self._source.classes
            for node in ast.walk(each.node)
            if isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
            and any(isinstance(target, ast.Name) and target.id == "table_name" for target in node.targets)
        )

    def needs(self, leaf: Leaf, call: ast.Call, shift: int, scope: Scope) -> Iterator[tuple[Resource, Need]]:
        """Yield the permissions that a call of a leaf needs, each with its resource."""
        given = call.args[shift:]
        if leaf.name == CALLS:
            yield from self._called(given, scope)
            return
        for need in leaf.needs:
            if need.resource:
                yield need.resource, need
            elif need.action == "batch_get":
                found: list[Resource] = [*self._tables_of(given[0], scope, set())] if given else []
                yield from ((table, need) for table in found or [None])
            elif need.kind == SECRETS:
                yield self._secret(given[0] if given else None, scope), need
            else:
                index = next((each.value for each in call.keywords if each.arg == "index"), None)
                of_index = self.evaluate(index, scope) if index is not None else []
                for value in self.evaluate(given[0], scope) if given else [None]:
                    if value is None and need.kind == QUEUES:
                        decided = self._decided(scope)
                        if decided != OWN:
                            yield decided, need
                    elif not of_index:
                        yield value, need
                    for name in of_index:
                        known = isinstance(value, str) and isinstance(name, str)
                        yield f"{value}/{name}" if known else None, need

    def _called(self, given: list[ast.expr], scope: Scope) -> Iterator[tuple[Resource, Need]]:
        """Yield the permission for a service's operation that is called by name."""
        words = [each.value for each in given[:2] if isinstance(each, ast.Constant)]
        action = queue_action(str(words[1])) if len(words) == 2 and words[0] == "sqs" else None
        if action is None:
            yield None, Need("services", "", " ".join(map(str, words)))
        else:
            yield self._decided(scope), Need(QUEUES, "", action)

    def _decided(self, scope: Scope) -> str | None:
        for place, (resource, _) in RESOURCES.items():
            if is_place(scope.home.id, place):
                return resource
        return None

    def _secret(self, node: ast.expr | None, scope: Scope) -> str | None:
        """Return the secret of `settings().parameter(…)`. A name whose end isn't known ends with a star."""
        match node:
            case ast.Call(func=ast.Attribute(attr="parameter"), args=[argument, *_]):
                match argument:
                    case ast.JoinedStr(values=[ast.Constant(value=str() as beginning), *_]):
                        return f"{beginning}*"
                values = self.evaluate(argument, scope)
                return values[0] if len(values) == 1 and isinstance(values[0], str) else None
        return self._decided(scope)

    # -- Values --------------------------------------------------------------------------------------------

    def evaluate(self, node: ast.expr, scope: Scope, depth: int = 0) -> list[Resource]:
        """Return the strings that an expression may be. A parameter of its function is a Parameter, anything
        unknown is None.
        """
        if depth > 6:
            return [None]
        match node:
            case ast.Constant(value=str() as text):
                return [text]
            case ast.Starred(value=ast.Call() as call):
                return self._first_returned(call, scope, depth)
            case ast.IfExp(body=one, orelse=other):
                return [*self.evaluate(one, scope, depth + 1), *self.evaluate(other, scope, depth + 1)]
            case ast.Name(id=name) if name in scope.local and name not in scope.imports:
                if name in scope.values:
                    found: list[Resource] = []
                    for value, element in scope.values[name]:
                        if not element:
                            found += self.evaluate(value, scope, depth + 1)
                        elif isinstance(value, ast.Tuple | ast.List):
                            for each in value.elts:
                                inner = each.elts[0] if isinstance(each, ast.Tuple) and each.elts else each
                                found += self.evaluate(inner, scope, depth + 1)
                        elif isinstance(value, ast.Call):
                            found += self._first_returned(value, scope, depth)
                        else:
                            found.append(None)
                    return found
                return [Parameter(name)] if _is_parameter(scope, name) else [None]
            case ast.Name() | ast.Attribute():
                found_there = scope.lookup(dotted(node))
                if isinstance(found_there, Definition):
                    said = getattr(found_there.node, "value", None)
                    if isinstance(said, ast.expr):
                        return self.evaluate(said, Scope(self._source, found_there), depth + 1)
        return [None]

    def _first_returned(self, call: ast.Call, scope: Scope, depth: int) -> list[Resource]:
        """Return the values of the first element of the tuples that a function returns."""
        found = scope.callee(call.func)
        if found is None or not found.is_function:
            return [None]
        values: list[Resource] = []
        for each in ast.walk(found.node):
            if isinstance(each, ast.Return) and isinstance(each.value, ast.Tuple) and each.value.elts:
                values += self.evaluate(each.value.elts[0], Scope(self._source, found), depth + 1)
        return values or [None]

    def _tables_of(self, node: ast.expr, scope: Scope, seen: set[str]) -> Iterator[str]:
        """Yield the tables that are keys of a mapping: of a literal, a variable, or a function's result."""
        for each in ast.walk(node):
            if isinstance(each, ast.Dict):
                for key in each.keys:
                    if key is not None:
                        yield from self._named(key, scope)
            elif isinstance(each, ast.Name) and each.id in scope.local:
                variable = f"{scope.home.id} {each.id}"
                if variable in seen:
                    continue
                seen.add(variable)
                for value, _ in scope.values.get(each.id, ()):
                    yield from self._tables_of(value, scope, seen)
                yield from self._subscripts(each.id, scope)
            elif isinstance(each, ast.Call | ast.Attribute):
                found = scope.callee(each.func if isinstance(each, ast.Call) else each)
                if found is not None and isinstance(found.node, Function) and found.id not in seen:
                    seen.add(found.id)
                    inner = Scope(self._source, found)
                    for returned in ast.walk(found.node):
                        if isinstance(returned, ast.Return) and returned.value is not None:
                            yield from self._tables_of(returned.value, inner, seen)

    def _subscripts(self, variable: str, scope: Scope) -> Iterator[str]:
        for each in ast.walk(scope.home.node):
            match each:
                case ast.Subscript(value=ast.Name(id=name), slice=key) if name == variable:
                    yield from self._named(key, scope)
                case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="setdefault"), args=[key, *_]):
                    if name == variable:
                        yield from self._named(key, scope)

    def _named(self, key: ast.expr, scope: Scope) -> Iterator[str]:
        yield from (
            value for value in self.evaluate(key, scope) if isinstance(value, str) and value in self.tables
        )


def _is_parameter(scope: Scope, name: str) -> bool:
    node = scope.home.node
    if not isinstance(node, Function):
        return False
    arguments = node.args
    return any(each.arg == name for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs))


def _name_of(node: ast.Name | ast.alias) -> str:
    return node.id if isinstance(node, ast.Name) else node.name
