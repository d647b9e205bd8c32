"""Builds the graph of definitions from a function, through everything that it may call, to the storage
operations.

Each definition that is named counts as called: a function that is passed on, an entry of a table, a property.
A method is found by its receiver's type. If that isn't known and a method of this name may lead to storage,
the walk can't decide, and `decisions` must have an entry.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from infra_cdk.reach.decisions import ENTERED_BY, NEVER, RECEIVERS, is_place
from infra_cdk.reach.operations import Leaf, Leaves, Parameter, Resource
from infra_cdk.reach.reading import Edge, Facts, Node, Reader, names_batched
from infra_cdk.reach.source import Definition, Function, Source
from infra_cdk.reach.types import Scope
from infra_shared.needs import TABLES, Need


class Walk:
    """The graph of a source."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.leaves = Leaves(source)
        self._facts: dict[Node, Facts] = {}
        self._parametric: dict[Node, set[tuple[str, str]]] = {}
        self._entered: dict[str, list[str] | None] = {}
        self._batches: dict[int, frozenset[str]] = {}
        self._bound: dict[Node, list[tuple[Edge, tuple[tuple[Resource, str], ...]]]] = {}

    def facts(self, node: Node) -> Facts:
        if node not in self._facts:
            self._facts[node] = facts = Facts()
            Reader(self, node, facts).read()
        return self._facts[node]

    def parametric(self, node: Node) -> set[tuple[str, str]]:
        """Return the parameters of a function that name a table, each with what the function does to that
        table.
        """
        if node not in self._parametric:
            self._parametric[node] = found = set(self.facts(node).parametric)
            for edge in self.facts(node).edges:
                found |= {
                    (value.name, action)
                    for value, action in self._bind(node, edge)
                    if isinstance(value, Parameter)
                }
        return self._parametric[node]

    def bound(self, node: Node) -> list[tuple[Edge, tuple[tuple[Resource, str], ...]]]:
        """Return a node's edges, each with what its target does to the tables that this node passes to it."""
        if node not in self._bound:
            edges = self.facts(node).edges
            self._bound[node] = [(edge, tuple(self._bind(node, edge))) for edge in edges]
        return self._bound[node]

    def _bind(self, node: Node, edge: Edge) -> Iterator[tuple[Resource, str]]:
        """Yield what an edge's target does to the tables that `node` passes to it."""
        wanted = self.parametric(edge.target)
        if not wanted:
            return
        scope = Scope(self.source, node.definition)
        for name, action in sorted(wanted):
            argument = _argument(edge, name)
            if argument is None:
                yield None, action
            else:
                for value in self.leaves.evaluate(argument, scope):
                    yield value, action

    def reach(self, roots: Iterable[Definition], module: str = "") -> Reached:
        """Return everything that functions of a module can reach from `roots`."""
        reached = Reached(module)
        todo = [Node(root) for root in roots]
        reached.nodes.update((node, None) for node in todo)
        for node in todo:
            facts = self.facts(node)
            for need in facts.needs:
                if not _is_never(reached.module, node, need):
                    reached.needs.setdefault(need, node)
            for where, name in sorted(facts.unknown):
                for definition in self._decided(reached, where, name):
                    self._add(reached, todo, node, Node(definition, node.batched))
            reached.undecided |= facts.undecided
            for edge, values in self.bound(node):
                for value, action in values:
                    if isinstance(value, str):
                        if not _is_never(reached.module, edge.target, Need(TABLES, value, action)):
                            reached.needs.setdefault(Need(TABLES, value, action), edge.target)
                    elif value is None:
                        reached.undecided.add(
                            f"{node.definition.id}: which table {edge.target.definition.id} gets is not said"
                        )
                self._add(reached, todo, node, edge.target)
        return reached

    def _add(self, reached: Reached, todo: list[Node], source: Node, target: Node) -> None:
        if target in reached.nodes:
            return
        entered = self._entered_by(target.definition.id)
        if entered is None or reached.module in entered:
            reached.nodes[target] = source
            todo.append(target)

    def _entered_by(self, definition: str) -> list[str] | None:
        """Return the modules that may reach a definition, if `decisions` limit them; None if any may."""
        if definition not in self._entered:
            self._entered[definition] = next(
                (by.split() for place, (by, _) in ENTERED_BY.items() if is_place(definition, place)), None
            )
        return self._entered[definition]

    def batches(self, definition: Definition, leaf_of: Callable[[ast.expr], Leaf | None]) -> frozenset[str]:
        """Return the local variables of a definition that are passed to `batch_write` and to nothing else."""
        key = id(definition.node)
        if key not in self._batches:
            self._batches[key] = names_batched(definition.node, leaf_of)
        return self._batches[key]

    def _decided(self, reached: Reached, where: str, name: str) -> Iterator[Definition]:
        """Yield the methods that a receiver of unknown type may mean, according to `decisions`."""
        if name not in self.leading:
            return
        for place, (classes, _) in RECEIVERS.items():
            if is_place(f"{where}.{name}", place):
                yield from (method for method in self.source.methods[name] if method.owner in classes.split())
                return
        reached.undecided.add(f"{where}.{name}: whose method is it?")

    @cached_property
    def leading(self) -> frozenset[str]:
        """The names of methods through which storage may be reached."""
        names: set[str] = set()
        while True:
            more = {
                name
                for name, methods in self.source.methods.items()
                if name not in names and any(self._leads(method, names) for method in methods)
            }
            if not more:
                return frozenset(names)
            names |= more

    def _leads(self, method: Definition, names: set[str]) -> bool:
        if method.name.startswith("__"):
            return False
        todo = [Node(method)]
        seen = set(todo)
        for node in todo:
            facts = self.facts(node)
            if facts.needs or facts.parametric or any(name in names for _, name in facts.unknown):
                return True
            for edge in facts.edges:
                if edge.target not in seen:
                    seen.add(edge.target)
                    todo.append(edge.target)
        return False


@dataclass
class Reached:
    """What a function reaches: the permissions that it needs, each with its node, and each node's
    predecessor.
    """

    module: str = ""
    needs: dict[Need, Node] = field(default_factory=dict)
    nodes: dict[Node, Node | None] = field(default_factory=dict)
    undecided: set[str] = field(default_factory=set)

    def way(self, need: Need) -> str:
        """Return the path of names that leads to a need, from the need back to the function."""
        names = []
        node: Node | None = self.needs[need]
        while node is not None:
            names.append(node.definition.id)
            node = self.nodes.get(node)
        return " < ".join(names)


def _is_never(module: str, node: Node, need: Need) -> bool:
    """Return whether `decisions` say that this definition never needs this permission in the module's
    functions.
    """
    return any(
        f"{need.action} {need.resource}" == words
        and module in modules.split()
        and is_place(node.definition.id, place)
        for (place, words), (modules, _) in NEVER.items()
    )


def _argument(edge: Edge, name: str) -> ast.expr | None:
    """Return the argument that an edge's call passes for a parameter."""
    function = edge.target.definition.node
    if edge.call is None or not isinstance(function, Function):
        return None
    for keyword in edge.call.keywords:
        if keyword.arg == name:
            return keyword.value
    names = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
    if edge.target.definition.owner and names[:1] in (["self"], ["cls"]):
        names = names[1:]
    given = edge.call.args[edge.shift :]
    if name in names and names.index(name) < len(given):
        return given[names.index(name)]
    defaults = dict(zip(reversed(function.args.args), reversed(function.args.defaults), strict=False))
    return next((value for each, value in defaults.items() if each.arg == name), None)
