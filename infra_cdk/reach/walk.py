"""From a function through all that it may call to the storage operations: a graph of definitions.

Whatever a definition names counts as called: a function that is passed on, an entry of a table, a property.
A method is found by its receiver's type; where that isn't known and the name may lead to storage, the walk
can't decide, and `decisions` must.
"""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from infra_cdk.reach.decisions import ENTERED_BY, NEVER, RECEIVERS, is_place
from infra_cdk.reach.operations import (
    BATCH,
    CARRIED_OUT,
    FETCH,
    READ,
    WRITES,
    Leaf,
    Leaves,
    Parameter,
    Resource,
)
from infra_cdk.reach.source import Definition, Function, Source, dotted
from infra_cdk.reach.types import Scope
from infra_shared.needs import TABLES, Need

EVERYDAY = frozenset(
    name
    for kind in (dict, list, set, str, bytes, tuple, deque)
    for name in dir(kind)
    if not name.startswith("_")
)
"""Methods of the language's own types. A value whose type isn't known has these as a rule. A class of ours
that has them may stand for one of those types: they count as called wherever the class is named."""


@dataclass(frozen=True, slots=True)
class Node:
    """A definition; with `batched` the writes that it makes go out in batches: another permission."""

    definition: Definition
    batched: bool = False
    single: bool = False
    """Whether its reads go out one by one, which again is another permission."""


@dataclass(frozen=True, slots=True)
class Edge:
    """From a definition to one that it names; `call` where it is called there, with the arguments."""

    target: Node
    call: ast.Call | None = field(default=None, hash=False, compare=False)
    shift: int = 0
    """How many of the call's arguments come before those of the target: 1 for `partial`."""


@dataclass
class Facts:
    """The needs of a node itself, and the names in it."""

    needs: set[Need] = field(default_factory=set)
    parametric: set[tuple[str, str]] = field(default_factory=set)
    """Parameters that name a table, and what is done to it."""
    edges: list[Edge] = field(default_factory=list)
    unknown: set[tuple[str, str]] = field(default_factory=set)
    """Methods of receivers whose type isn't known: where, and the name."""
    undecided: set[str] = field(default_factory=set)


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
            _Reader(self, node, facts).read()
        return self._facts[node]

    def parametric(self, node: Node) -> set[tuple[str, str]]:
        """The parameters of a function that name a table, and what it or what it calls does to that."""
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
        """A node's edges, each with what its target does to the tables that the node gives it."""
        if node not in self._bound:
            edges = self.facts(node).edges
            self._bound[node] = [(edge, tuple(self._bind(node, edge))) for edge in edges]
        return self._bound[node]

    def _bind(self, node: Node, edge: Edge) -> Iterator[tuple[Resource, str]]:
        """What an edge's target does to the tables that `node` gives it."""
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
        """All that functions of a module can reach from `roots`."""
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
        """The modules whose functions alone come to a definition; None where any may."""
        if definition not in self._entered:
            self._entered[definition] = next(
                (by.split() for place, (by, _) in ENTERED_BY.items() if is_place(definition, place)), None
            )
        return self._entered[definition]

    def batches(self, definition: Definition, leaf_of: Callable[[ast.expr], Leaf | None]) -> frozenset[str]:
        """The local variables of a definition that hold what goes to `batch_write` and to nothing else."""
        key = id(definition.node)
        if key not in self._batches:
            self._batches[key] = _names_batched(definition.node, leaf_of)
        return self._batches[key]

    def _decided(self, reached: Reached, where: str, name: str) -> Iterator[Definition]:
        """The methods that a receiver of unknown type may mean, as `decisions` say."""
        if name not in self.leading:
            return
        for place, (classes, _) in RECEIVERS.items():
            if is_place(f"{where}.{name}", place):
                yield from (method for method in self.source.methods[name] if method.owner in classes.split())
                return
        reached.undecided.add(f"{where}.{name}: whose method is it?")

    @cached_property
    def leading(self) -> frozenset[str]:
        """The names of methods by which storage may be reached."""
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
    """The needs that a function can reach, each with where it arises, and the way to each node."""

    module: str = ""
    needs: dict[Need, Node] = field(default_factory=dict)
    nodes: dict[Node, Node | None] = field(default_factory=dict)
    undecided: set[str] = field(default_factory=set)

    def way(self, need: Need) -> str:
        """How a need comes about: the names on the way to it."""
        names = []
        node: Node | None = self.needs[need]
        while node is not None:
            names.append(node.definition.id)
            node = self.nodes.get(node)
        return " < ".join(names)


def _is_never(module: str, node: Node, need: Need) -> bool:
    """Whether `decisions` say that a module's functions never have a definition do this."""
    return any(
        f"{need.action} {need.resource}" == words
        and module in modules.split()
        and is_place(node.definition.id, place)
        for (place, words), (modules, _) in NEVER.items()
    )


class _Reader(ast.NodeVisitor):
    """Reads one definition's facts."""

    def __init__(self, walk: Walk, node: Node, facts: Facts) -> None:
        self._walk = walk
        self._source = walk.source
        self._leaves = walk.leaves
        self._definition = node.definition
        self._facts = facts
        self._batched = node.batched
        self._single = node.single
        self._scope = Scope(walk.source, node.definition)
        self._called: set[ast.expr] = set()
        self._batches = walk.batches(node.definition, self._leaf)

    def read(self) -> None:
        definition = self._definition
        node = definition.node
        if self._leaves.is_wire(definition.module):
            return
        if isinstance(node, ast.ClassDef):
            self._read_class(node)
        elif isinstance(node, Function):
            for default in (*node.args.defaults, *(each for each in node.args.kw_defaults if each)):
                self.visit(default)
            for each in node.body:
                self.visit(each)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            self.visit(node.value)

    def _read_class(self, node: ast.ClassDef) -> None:
        for each in node.body:
            if isinstance(each, Function):
                if each.name.startswith("__") or each.name in EVERYDAY:
                    self._name(Definition(self._definition.module, each.name, each, node.name))
            elif isinstance(each, ast.Assign | ast.AnnAssign) and each.value is not None:
                self.visit(each.value)
        for base in self._source.bases(self._definition):
            self._name(base)

    # -- Visiting ------------------------------------------------------------------------------------------

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._assign([node.target], node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        self._assign(node.targets, node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._assign([node.target], node.value)

    def _assign(self, targets: list[ast.expr], value: ast.expr) -> None:
        batched = any(isinstance(each, ast.Name) and each.id in self._batches for each in targets)
        self._visit(value, self._batched or batched)
        for target in targets:
            self.visit(target)

    def _visit(self, node: ast.AST, batched: bool) -> None:
        before, self._batched = self._batched, batched
        self.visit(node)
        self._batched = before

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for each in (*node.decorator_list, *node.args.defaults, *node.body):
            self.visit(each)

    def visit_arg(self, node: ast.arg) -> None:
        """Annotations call nothing."""

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            found = self._scope.lookup(node.id)
            if isinstance(found, Definition):
                self._reference(found)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        found = self._resolve(node)
        if not found or not dotted(node) or self._scope.lookup(dotted(node)) is None:
            self.visit(node.value)
        for each in found:
            self._reference(each)

    def visit_Call(self, node: ast.Call) -> None:
        called, shift = node.func, 0
        if dotted(called).rpartition(".")[2] == "partial" and node.args:
            called, shift = node.args[0], 1
        if dotted(called) == "super" or (
            isinstance(called, ast.Attribute)
            and isinstance(called.value, ast.Call)
            and dotted(called.value.func) == "super"
        ):
            self._visit_super(called)
        self._called.add(called)
        batched, single = self._batched, False
        appended = (
            isinstance(called, ast.Attribute)
            and called.attr in ("append", "extend", "add")
            and dotted(called.value) in self._batches
        )
        for found in self._resolve(called):
            leaf = self._leaves.of(found)
            if leaf is not None:
                self._operate(leaf, node, shift)
                single = single or leaf.name == FETCH
                batched = leaf.name == BATCH or (batched and leaf.name not in CARRIED_OUT)
            else:
                self._name(found, node, shift)
        if isinstance(called, ast.Attribute) and not (
            dotted(called) and self._scope.lookup(dotted(called)) is not None
        ):
            self.visit(called.value)
        elif not isinstance(called, ast.Name | ast.Attribute):
            self.visit(called)
        before, self._single = self._single, self._single or single
        for argument in (*node.args[shift:], *(keyword.value for keyword in node.keywords)):
            self._visit(argument, batched or appended)
        self._single = before

    def _visit_super(self, called: ast.expr) -> None:
        if isinstance(called, ast.Attribute) and self._definition.owner:
            owner = self._source.by_id[f"{self._definition.module}:{self._definition.owner}"]
            for base in self._source.bases(owner):
                if member := self._source.member(base, called.attr):
                    self._name(member)

    # -- Names ---------------------------------------------------------------------------------------------

    def _leaf(self, node: ast.expr) -> Leaf | None:
        found = self._scope.lookup(dotted(node)) if dotted(node) else None
        return self._leaves.of(found) if isinstance(found, Definition) else None

    def _resolve(self, node: ast.expr) -> list[Definition]:
        """What an expression that is called or named may be; a receiver's unknown type is noted."""
        name = dotted(node)
        found = self._scope.lookup(name) if name else None
        if isinstance(found, Definition):
            return [found]
        if found is not None or not isinstance(node, ast.Attribute):
            return []
        if name.partition(".")[0] in self._scope.imports or (
            name
            and name.partition(".")[0] not in self._scope.local
            and name.partition(".")[0] in self._source.modules[self._definition.module].imports
            and self._scope.lookup(name.rpartition(".")[0]) is None
            and not isinstance(self._scope.lookup(name.partition(".")[0]), Definition)
        ):
            return []  # of a library
        owners = self._scope.of(node.value)
        if owners is None:
            if node.attr not in EVERYDAY and (node in self._called or not self._is_field(node.attr)):
                self._facts.unknown.add((self._definition.id, node.attr))
            return []
        members = []
        for each in sorted(owners.classes):
            for one in self._source.implementations(self._source.by_id[each]):
                member = self._source.member(one, node.attr)
                if member is not None and isinstance(member.node, Function) and member not in members:
                    members.append(member)
        return members

    def _is_field(self, name: str) -> bool:
        """Whether some class has a field of this name, and none a property."""
        return name in self._source.fields and not any(
            dotted(each).endswith("property")
            for method in self._source.methods.get(name, ())
            if isinstance(method.node, Function)
            for each in method.node.decorator_list
        )

    def _reference(self, found: Definition) -> None:
        """Something is named without being called there."""
        leaf = self._leaves.of(found)
        if leaf is None:
            self._name(found)
        elif leaf.needs:
            self._facts.undecided.add(f"{self._definition.id}: {leaf.name} is passed on; to which table?")

    def _name(self, found: Definition, call: ast.Call | None = None, shift: int = 0) -> None:
        if found == self._definition and not found.is_function:
            return
        if not self._leaves.is_wire(found.module):
            self._facts.edges.append(Edge(Node(found, self._batched, self._single), call, shift))

    def _operate(self, leaf: Leaf, call: ast.Call, shift: int) -> None:
        action = "batch_write" if self._batched and leaf.name in WRITES else ""
        for resource, need in self._leaves.needs(leaf, call, shift, self._scope):
            action_of = action or need.action
            if need.action == READ:
                action_of = "get" if self._single else "batch_get"
            if isinstance(resource, Parameter):
                self._facts.parametric.add((resource.name, action_of))
            elif resource is None:
                self._facts.undecided.add(f"{self._definition.id}: {leaf.name} of which {need.kind}?")
            else:
                self._facts.needs.add(Need(need.kind, resource, action_of))


def _argument(edge: Edge, name: str) -> ast.expr | None:
    """What an edge's call gives for a parameter."""
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


def _names_batched(node: ast.AST, leaf_of: Callable[[ast.expr], Leaf | None]) -> frozenset[str]:
    """The local variables that hold what goes to `batch_write` and to nothing else."""
    batched: set[str] = set()
    otherwise: set[str] = set()
    assignments: list[ast.Assign | ast.AugAssign] = []
    for each in ast.walk(node):
        if isinstance(each, ast.Assign | ast.AugAssign):
            assignments.append(each)
        elif isinstance(each, ast.Call) and (leaf := leaf_of(each.func)) is not None:
            if leaf.name == BATCH:
                batched |= _names_in(*each.args)
            elif leaf.name in CARRIED_OUT:
                otherwise |= _names_in(*each.args)
    size = 0
    while size != len(batched):
        size = len(batched)
        for assignment in assignments:
            targets = assignment.targets if isinstance(assignment, ast.Assign) else [assignment.target]
            if any(isinstance(target, ast.Name) and target.id in batched for target in targets):
                batched |= _names_in(assignment.value)
    return frozenset(batched - otherwise)


def _names_in(*nodes: ast.AST) -> set[str]:
    return {each.id for node in nodes for each in ast.walk(node) if isinstance(each, ast.Name)}
