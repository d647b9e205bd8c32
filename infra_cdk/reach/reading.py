"""Reads one definition: its own requests to AWS, and the definitions that it names."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infra_cdk.reach.operations import (
    BATCH,
    CARRIED_OUT,
    FETCH,
    MAKES_CLIENTS,
    READ,
    WRITES,
    Leaf,
    Parameter,
)
from infra_cdk.reach.source import Definition, Function, dotted
from infra_cdk.reach.types import Scope
from infra_shared.needs import Need

if TYPE_CHECKING:
    from infra_cdk.reach.walk import Walk

EVERYDAY = frozenset(
    name
    for kind in (dict, list, set, str, bytes, tuple, deque)
    for name in dir(kind)
    if not name.startswith("_")
)
"""Methods of the language's own types. A value of unknown type is usually one of these. A class of ours that
has such methods may be used like one of these types, so they count as called wherever the class is named."""

HANDLER = "handler"
"""The name of the object that Lambda calls, in each module of `functions`."""
UNTOLD = frozenset(("__import__", "attrgetter", "eval", "exec", "globals", "methodcaller", "vars"))
UNTOLD_METHODS = frozenset(("__dict__", "attrgetter", "import_module", "methodcaller"))
"""Functions that turn a string into a function."""
LIBRARIES = frozenset(("boto3", "botocore"))
"""Libraries that call AWS: only the modules of `operations.WIRE` use them."""


@dataclass(frozen=True, slots=True)
class Node:
    """A definition. If `batched`, its writes are sent in batches, which need another permission."""

    definition: Definition
    batched: bool = False
    single: bool = False
    """Whether it sends each read in a separate request. That needs another permission than a batch."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A definition names another one; `call` is the call with its arguments, if it is called there."""

    target: Node
    call: ast.Call | None = field(default=None, hash=False, compare=False)
    shift: int = 0
    """How many of the call's arguments come before those of the target: 1 for `partial`."""


@dataclass
class Facts:
    """The permissions that a node needs itself, and the definitions that it names."""

    needs: set[Need] = field(default_factory=set)
    parametric: set[tuple[str, str]] = field(default_factory=set)
    """Parameters that name a table, with the operation on it."""
    edges: list[Edge] = field(default_factory=list)
    unknown: set[tuple[str, str]] = field(default_factory=set)
    """Methods of receivers whose type isn't known: the place, and the method's name."""
    undecided: set[str] = field(default_factory=set)


class Reader(ast.NodeVisitor):
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
        self._ambiguous = self._scope.ambiguous | self._source.modules[node.definition.module].ambiguous

    def read(self) -> None:
        definition = self._definition
        node = definition.node
        if self._leaves.is_wire(definition.module):
            return
        for given in self._source.registered.get(definition, ()):
            self._name(given)
        if isinstance(node, ast.ClassDef):
            self._read_class(node)
        elif isinstance(node, Function):
            if definition.name != HANDLER:  # `check.roots` knows what its decorator does
                self._visit_all(node.decorator_list)
            self._visit_all(each for each in (*node.args.defaults, *node.args.kw_defaults) if each)
            self._visit_all(node.body)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            if node.value is not None:
                self.visit(node.value)
        elif isinstance(node, ast.stmt):
            self.visit(node)

    def _visit_all(self, nodes: Iterable[ast.AST]) -> None:
        for each in nodes:
            self.visit(each)

    def _read_class(self, node: ast.ClassDef) -> None:
        self._visit_all(node.decorator_list)
        self._visit_all(each.value for each in node.keywords)
        for each in node.body:
            if isinstance(each, ast.ClassDef):
                self.visit(each)
            elif isinstance(each, Function):
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
        """Skip annotations, because they call nothing."""

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            return
        self._check(node.id)
        found = self._scope.lookup(node.id) or self._of_class(node.id)
        if isinstance(found, Definition):
            self._reference(found)
        elif found is not None:
            self._say(f"the module {found} is passed on")

    def _check(self, name: str) -> None:
        """Record the name as undecided if it leads to code that the walk can't follow."""
        if name in self._ambiguous:
            self._say(f"{name} may stand for several things")
        imports = self._source.modules[self._definition.module].imports | self._scope.imports
        library, _, meant = imports.get(name, name).partition(".")
        if library in LIBRARIES:
            self._say(f"it uses {name}, which speaks to AWS")
        if (meant or library) in UNTOLD:
            self._say(f"what {meant or library} comes to isn't told")

    def _of_class(self, name: str) -> Definition | None:
        """Return the definition that a name among a class's statements means; None if there is none."""
        owner = self._source.by_id.get(f"{self._definition.module}:{self._definition.owner}")
        if owner is None or self._definition.is_function:
            return None
        return self._source.member(owner, name)

    def _say(self, words: str) -> None:
        self._facts.undecided.add(f"{self._definition.id}: {words}")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        found = self._resolve(node)
        if not found or not dotted(node) or self._scope.lookup(dotted(node)) is None:
            self._visit_base(node.value)
        if node.attr in UNTOLD_METHODS:
            self._say(f"what {node.attr} comes to isn't told")
        for each in found:
            self._reference(each)

    def _visit_base(self, node: ast.expr) -> None:
        """Visit the object whose attribute is used, unless it is one of our modules."""
        if not isinstance(self._scope.lookup(dotted(node)) if dotted(node) else None, str):
            self.visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if dotted(node.func) == "getattr" and len(node.args) > 1:
            self._visit_getattr(node)
            return
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
            if found.name == MAKES_CLIENTS:
                self._say("it makes a client of its own")
            elif leaf is not None:
                self._operate(leaf, node, shift)
                single = single or leaf.name == FETCH
                batched = leaf.name == BATCH or (batched and leaf.name not in CARRIED_OUT)
            else:
                self._name(found, node, shift)
        if isinstance(called, ast.Attribute) and not (
            dotted(called) and self._scope.lookup(dotted(called)) is not None
        ):
            self._visit_base(called.value)
            if called.attr in UNTOLD_METHODS:
                self._say(f"what {called.attr} comes to isn't told")
        elif isinstance(called, ast.Name):
            self._check(called.id)
        elif not isinstance(called, ast.Attribute):
            self.visit(called)
        before, self._single = self._single, self._single or single
        for argument in (*node.args[shift:], *(keyword.value for keyword in node.keywords)):
            self._visit(argument, batched or appended)
        self._single = before

    def _visit_getattr(self, node: ast.Call) -> None:
        """Visit a `getattr` like the attribute that it names; if the name isn't known, like all methods that
        it may be.
        """
        base, name = node.args[:2]
        self._visit_all(node.args[1:])
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            self.visit(ast.copy_location(ast.Attribute(base, name.value, ast.Load()), node))
            return
        self.visit(base)
        owners = self._scope.of(base)
        if owners is None:
            self._say("what getattr comes to isn't told")
            return
        for owner in sorted(owners.classes):
            for each in self._source.implementations(self._source.by_id[owner]):
                self._visit_members(each)

    def _visit_members(self, owner: Definition) -> None:
        for each in owner.statement.body:
            if isinstance(each, Function):
                self._name(Definition(owner.module, each.name, each, owner.name))
        for base in self._source.bases(owner):
            self._visit_members(base)

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
        """Return the definitions that a called or named expression may mean. Records receivers of unknown
        type.
        """
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
            return []  # from a library
        owners = self._scope.of(node.value)
        if owners is None:
            if node.attr not in EVERYDAY and (node in self._called or not self._is_field(node.attr)):
                self._facts.unknown.add((self._definition.id, node.attr))
            return []
        members = []
        for each in sorted(owners.classes):
            for one in self._source.implementations(self._source.by_id[each]):
                member = self._source.member(one, node.attr)
                if member is not None and member not in members:
                    members.append(member)
        return members

    def _is_field(self, name: str) -> bool:
        """Return whether some class has a field of this name, and none a property."""
        return name in self._source.fields and not any(
            dotted(each).endswith("property")
            for method in self._source.methods.get(name, ())
            if isinstance(method.node, Function)
            for each in method.node.decorator_list
        )

    def _reference(self, found: Definition) -> None:
        """Add an edge to a definition that is named without being called."""
        leaf = self._leaves.of(found)
        if found.name == MAKES_CLIENTS:
            self._say("it makes a client of its own")
        elif leaf is None:
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


def names_batched(node: ast.AST, leaf_of: Callable[[ast.expr], Leaf | None]) -> frozenset[str]:
    """Return the local variables that are only passed to `batch_write`."""
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
