"""Finds the class of an expression's value, as far as annotations and assignments show it."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass

from infra_cdk.reach.source import Definition, Function, Source, dotted, imported

CONTAINERS = frozenset(dir(builtins))
DEPTH = 12
"""How many names of a chain are followed."""


@dataclass(frozen=True, slots=True)
class Type:
    """The type of a value: one of these classes of ours (none: another class), or a container of `inner`
    values.
    """

    classes: frozenset[str] = frozenset()
    inner: Type | None = None


OTHERS = Type()


def union(*types: Type | None) -> Type | None:
    """Return the type of a value that has one of these types; None if one of them isn't known."""
    classes: frozenset[str] = frozenset()
    inner: Type | None = None
    for each in types:
        if each is None:
            return None
        classes |= each.classes
        inner = each.inner if inner is None else union(inner, each.inner) or inner
    return Type(classes, inner)


class Names:
    """The meanings of a function's own names, read once from its statements."""

    def __init__(self, home: Definition, package: str) -> None:
        self.package = package
        self.imports: dict[str, str] = {}
        self.ambiguous: set[str] = set()
        """Names that the function imports from several places."""
        self.own: set[str] = set()
        """Local names of the function itself, without those of its inner functions."""
        self.annotations: dict[str, ast.expr] = {}
        self.values: dict[str, list[tuple[ast.expr, bool]]] = {}
        """The values that are assigned to local names; with True, their elements are assigned."""
        self.local: set[str] = set()
        if home.is_function:
            self._read(home.node)

    def _read(self, function: ast.AST) -> None:
        self.own = {name for node in _without_inner(function) for name in _bound_by(node)}
        for node in ast.walk(function):
            if isinstance(node, ast.Import | ast.ImportFrom):
                for name, meant in imported(node, self.package):
                    if self.imports.get(name, meant) != meant:
                        self.ambiguous.add(name)
                    self.imports[name] = meant
            elif isinstance(node, ast.arg):
                self.local.add(node.arg)
                if node.annotation is not None:
                    self.annotations.setdefault(node.arg, node.annotation)
            elif isinstance(node, Function) and node is not function:
                self.local.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self.local.add(node.id)
            self._bind(node)

    def _bind(self, node: ast.AST) -> None:
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    self._assign(target, value, False)
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
                self.annotations.setdefault(name, annotation)
                if value is not None:
                    self._assign(node.target, value, False)
            case ast.NamedExpr(target=target, value=value) | ast.AugAssign(target=target, value=value):
                self._assign(target, value, False)
            case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
                self._assign(target, value, True)
            case ast.withitem(context_expr=value, optional_vars=ast.Name() as target):
                self._assign(target, value, False)

    def _assign(self, target: ast.expr, value: ast.expr, element: bool) -> None:
        if isinstance(target, ast.Name):
            self.values.setdefault(target.id, []).append((value, element))
        elif isinstance(target, ast.Tuple | ast.List):
            parts = value.elts if isinstance(value, ast.Tuple) else _results(value)
            if not element and len(parts) == len(target.elts):
                for one, other in zip(target.elts, parts, strict=True):
                    self._assign(one, other, False)
            else:
                for each in target.elts:
                    inner = each.value if isinstance(each, ast.Starred) else each
                    if isinstance(inner, ast.Name):
                        self.values.setdefault(inner.id, []).append((value, True))


def _without_inner(function: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function, without those of the functions defined in it."""
    todo: list[ast.AST] = [*ast.iter_child_nodes(function)]
    for node in todo:
        yield node
        if not isinstance(node, Function | ast.Lambda):
            todo += ast.iter_child_nodes(node)


def _bound_by(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.FunctionDef(name=name):
            yield name
        case ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name


class Scope:
    """The names within a function, or within a class's or a module's statement."""

    def __init__(self, source: Source, home: Definition) -> None:
        self.source = source
        self.home = home
        names = source.cached(Names, home)
        self.imports = names.imports
        self.annotations = names.annotations
        self.values = names.values
        self.local = names.local
        self.own = names.own
        self.ambiguous = names.ambiguous
        self._busy: set[str] = set()

    # -- Names ---------------------------------------------------------------------------------------------

    def lookup(self, name: str) -> Definition | str | None:
        """Return what a dotted name means; None if it is a local variable."""
        first, _, rest = name.partition(".")
        if first in self.imports:
            start = self.imports[first]
            return self.source.find(f"{start}.{rest}" if rest else start)
        if first in self.own:
            return None
        return self.source.named(self.home.module, name)

    # -- Types ---------------------------------------------------------------------------------------------

    def of_annotation(self, node: ast.expr | None, depth: int = 0) -> Type | None:
        """Return the type that an annotation names; None if it isn't known."""
        if node is None or depth > DEPTH:
            return None
        match node:
            case ast.Constant(value=None):
                return OTHERS
            case ast.Constant(value=str() as text):
                return self.of_annotation(ast.parse(text, mode="eval").body, depth + 1)
            case ast.BinOp(left=left, right=right):
                return union(self.of_annotation(left, depth + 1), self.of_annotation(right, depth + 1))
            case ast.Subscript(value=base, slice=inner):
                parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
                name = dotted(base).rpartition(".")[2]
                if name in ("Literal", "Callable"):
                    return None if name == "Callable" else OTHERS
                if name in ("Optional", "Final", "ClassVar"):
                    return self.of_annotation(parts[0], depth + 1)
                found = self.of_annotation(base, depth + 1)
                kept = [part for part in parts if not (isinstance(part, ast.Constant) and part.value is ...)]
                if name in ("dict", "Mapping", "MutableMapping", "defaultdict", "LruCache"):
                    kept = kept[-1:]
                inner_types = [self.of_annotation(part, depth + 1) for part in kept]
                return Type(found.classes if found else frozenset(), union(*inner_types))
            case ast.Name() | ast.Attribute():
                return self._of_annotated_name(dotted(node), depth)
        return None

    def _of_annotated_name(self, name: str, depth: int) -> Type | None:
        if name == "Self" and self.home.owner:
            return Type(frozenset((f"{self.home.module}:{self.home.owner}",)))
        found = self.source.named(self.home.module, name) or self.lookup(name)
        if isinstance(found, Definition):
            if found.is_class:
                return Type(frozenset((found.id,)))
            value = getattr(found.node, "value", None)
            if isinstance(value, ast.Call):
                return None  # a TypeVar, a NewType
            return Scope(self.source, found).of_annotation(value, depth + 1)
        return None if name.rpartition(".")[2] in ("Any", "object") else OTHERS

    def of(self, node: ast.expr, depth: int = 0) -> Type | None:
        """Return the type of an expression's value; None if it isn't known."""
        if depth > DEPTH:
            return None
        match node:
            case ast.Constant() | ast.JoinedStr() | ast.Compare() | ast.UnaryOp():
                return OTHERS
            case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
                return Type(inner=union(*(self.of(part, depth + 1) for part in parts)) if parts else None)
            case ast.Dict(values=parts):
                return Type(inner=union(*(self.of(part, depth + 1) for part in parts)) if parts else None)
            case ast.ListComp(elt=part) | ast.SetComp(elt=part) | ast.GeneratorExp(elt=part):
                return Type(inner=self.of(part, depth + 1))
            case ast.DictComp(value=part):
                return Type(inner=self.of(part, depth + 1))
            case ast.Name(id=name):
                return self._of_name(name, depth)
            case ast.Call():
                return self._of_call(node, depth)
            case ast.Attribute(value=base, attr=name):
                return self._of_attribute(node, base, name, depth)
            case ast.Subscript(value=base):
                outer = self.of(base, depth + 1)
                return outer.inner if outer is not None else None
            case ast.IfExp(body=one, orelse=other):
                return union(self.of(one, depth + 1), self.of(other, depth + 1))
            case ast.BoolOp(values=parts):
                return union(*(self.of(part, depth + 1) for part in parts))
            case ast.BinOp(left=left):
                return self.of(left, depth + 1)
            case ast.NamedExpr(value=value) | ast.Await(value=value) | ast.Starred(value=value):
                return self.of(value, depth + 1)
        return None

    def _of_name(self, name: str, depth: int) -> Type | None:
        home = self.home
        if name in ("self", "cls") and home.owner and name not in self.annotations:
            return Type(frozenset((f"{home.module}:{home.owner}",)))
        if name in self.annotations:
            return self.of_annotation(self.annotations[name], depth + 1)
        if name in self._busy:
            return OTHERS  # the type that it has already: `found = found or read()`
        if name in self.values:
            self._busy.add(name)
            try:
                return union(*(self._of_value(value, inner, depth) for value, inner in self.values[name]))
            finally:
                self._busy.discard(name)
        found = self.lookup(name)
        return self._of_definition(found, depth) if isinstance(found, Definition) else None

    def _of_value(self, value: ast.expr, element: bool, depth: int) -> Type | None:
        if element and isinstance(value, ast.Call):
            name = dotted(value.func)
            if (
                name in ("enumerate", "zip", "sorted", "reversed", "list", "set", "tuple", "iter")
                and value.args
            ):
                inner = [self._of_value(each, True, depth + 1) for each in value.args]
                return union(*inner)
            if isinstance(value.func, ast.Attribute) and value.func.attr in ("items", "values", "copy"):
                whole = self.of(value.func.value, depth + 1)
                return whole.inner if whole is not None else None
        found = self.of(value, depth + 1)
        if not element or found is None:
            return found
        return found.inner

    def _of_definition(self, found: Definition, depth: int) -> Type | None:
        """Return the type of a constant's or an attribute's value."""
        node = found.node
        scope = Scope(self.source, found)
        if isinstance(node, ast.AnnAssign):
            return scope.of_annotation(node.annotation, depth + 1)
        if isinstance(node, ast.Assign):
            return scope.of(node.value, depth + 1)
        return None

    def _of_call(self, node: ast.Call, depth: int) -> Type | None:
        name = dotted(node.func)
        if name in ("next", "max", "min") and node.args:
            whole = self.of(node.args[0], depth + 1)
            return whole.inner if whole is not None else None
        if name in ("sorted", "list", "set", "tuple", "reversed", "iter", "dict") and node.args:
            return self.of(node.args[0], depth + 1)
        if name in ("replace", "dataclasses.replace") and node.args:
            return self.of(node.args[0], depth + 1)
        if name.rpartition(".")[2] == "parallel" and len(node.args) == 1:
            argument = node.args[0]
            every = argument.value if isinstance(argument, ast.Starred) else argument
            part = every.elt if isinstance(every, ast.GeneratorExp | ast.ListComp) else None
            return Type(
                inner=union(*(self.of(each, depth + 1) for each in _results(ast.Call(node.func, [part], []))))
                if part
                else None
            )
        found = self.callee(node.func, depth)
        if isinstance(found, Definition):
            if found.is_class:
                return Type(frozenset((found.id,)))
            if isinstance(found.node, Function):
                return Scope(self.source, found).of_annotation(found.node.returns, depth + 1)
            return None
        if isinstance(node.func, ast.Attribute):
            whole = self.of(node.func.value, depth + 1)
            if whole is not None and not whole.classes:
                if node.func.attr in ("get", "pop", "setdefault", "popleft"):
                    return whole.inner
                return Type(inner=whole.inner)
        if isinstance(node.func, ast.Name) and node.func.id in CONTAINERS and node.func.id not in self.local:
            return OTHERS
        return None

    def callee(self, node: ast.expr, depth: int = 0) -> Definition | None:
        """Return the function or class that an expression names."""
        found = self.lookup(dotted(node)) if dotted(node) else None
        if isinstance(found, Definition):
            return found
        if isinstance(node, ast.Attribute):
            whole = self.of(node.value, depth + 1)
            for name in sorted(whole.classes) if whole is not None else ():
                if member := self.source.member(self.source.by_id[name], node.attr):
                    return member
        return None

    def _of_attribute(self, node: ast.Attribute, base: ast.expr, name: str, depth: int) -> Type | None:
        found = self.lookup(dotted(node)) if dotted(node) else None
        if isinstance(found, Definition) and not found.is_function:
            return self._of_definition(found, depth)
        whole = self.of(base, depth + 1)
        if whole is None:
            return None
        if not whole.classes:
            return None
        return union(*(self._of_member(self.source.by_id[each], name, depth) for each in whole.classes))

    def _of_member(self, owner: Definition, name: str, depth: int) -> Type | None:
        member = self.source.member(owner, name)
        if member is None:
            return self._of_initialised(owner, name, depth)
        if isinstance(member.node, Function):
            if any(dotted(each).endswith("property") for each in member.node.decorator_list):
                return Scope(self.source, member).of_annotation(member.node.returns, depth + 1)
            return None
        return self._of_definition(member, depth)

    def _of_initialised(self, owner: Definition, name: str, depth: int) -> Type | None:
        """Return the type of an attribute that `__init__` or another method assigns."""
        for base in [owner, *self.source.bases(owner)]:
            for method in base.statement.body:
                if not isinstance(method, Function):
                    continue
                home = Definition(base.module, method.name, method, base.name)
                for target, value, annotation in _self_assignments(method):
                    if target != name:
                        continue
                    scope = Scope(self.source, home)
                    found = scope.of_annotation(annotation, depth + 1) if annotation is not None else None
                    if found is None and value is not None:
                        found = scope.of(value, depth + 1)
                    return found
        return None


def _results(value: ast.expr) -> list[ast.expr]:
    """Return the calls whose results `gather` or `parallel` returns; none for any other expression."""
    if not isinstance(value, ast.Call) or dotted(value.func).rpartition(".")[2] not in ("gather", "parallel"):
        return []
    found: list[ast.expr] = []
    for each in value.args:
        if isinstance(each, ast.Lambda):
            found.append(each.body)
        elif isinstance(each, ast.Call) and dotted(each.func).rpartition(".")[2] == "partial":
            found.append(ast.Call(each.args[0], each.args[1:], each.keywords))
        else:
            inner = each.value if isinstance(each, ast.Starred) else each
            found.append(ast.Call(inner, [], []))
    return found


def _self_assignments(method: ast.AST) -> Iterator[tuple[str, ast.expr | None, ast.expr | None]]:
    for node in ast.walk(method):
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    pairs = (
                        zip(target.elts, value.elts, strict=True)
                        if isinstance(target, ast.Tuple)
                        and isinstance(value, ast.Tuple)
                        and len(target.elts) == len(value.elts)
                        else [(target, value)]
                    )
                    for one, other in pairs:
                        match one:
                            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                                yield name, other, None
            case ast.AnnAssign(
                target=ast.Attribute(value=ast.Name(id="self"), attr=name), annotation=said, value=value
            ):
                yield name, value, said
