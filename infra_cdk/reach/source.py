"""Reads the source as a set of definitions (modules, functions, classes, constants) that are found by
name.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Function = ast.FunctionDef | ast.AsyncFunctionDef
CHANGING = frozenset(("add", "append", "appendleft", "extend", "insert", "register", "setdefault", "update"))
"""Methods that put something into a container."""
ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "layers" / "murmuration" / "python" / "murmuration"
FUNCTIONS = ROOT / "functions"


@dataclass(frozen=True, slots=True)
class Definition:
    """A function, class or constant. For a method, `owner` is its class."""

    module: str
    name: str
    node: ast.AST = field(hash=False, compare=False)
    owner: str = ""

    @property
    def id(self) -> str:
        """The definition's ID, such as `murmuration.rooms.room:Room.state`."""
        return f"{self.module}:{self.owner}.{self.name}" if self.owner else f"{self.module}:{self.name}"

    @property
    def is_class(self) -> bool:
        return isinstance(self.node, ast.ClassDef)

    @property
    def statement(self) -> ast.ClassDef:
        """The statement of a class. Raises TypeError if the definition isn't a class."""
        if not isinstance(self.node, ast.ClassDef):
            raise TypeError(f"{self.id} is no class")
        return self.node

    @property
    def is_function(self) -> bool:
        return isinstance(self.node, Function)

    @property
    def is_overload(self) -> bool:
        """Whether it only declares a type (`@overload`) of a function that is defined below it."""
        return isinstance(self.node, Function) and any(
            dotted(each).rpartition(".")[2] == "overload" for each in self.node.decorator_list
        )


class Module:
    """A file: its definitions, and its imports at the top.

    `ambiguous` are the names that may have several meanings, because branches bind them. `registrations` are
    statements and decorated functions that add something to another definition: each with that definition's
    name.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self.package = name if path.stem == "__init__" else name.rpartition(".")[0]
        self.tree = ast.parse(path.read_text(), str(path))
        self.imports: dict[str, str] = {}
        self.stars: list[str] = []
        self.definitions: dict[str, Definition] = {}
        self.ambiguous: set[str] = set()
        self.registrations: list[tuple[str, ast.AST]] = []
        self._read(self.tree.body)

    def _read(self, body: list[ast.stmt]) -> None:
        for node in body:
            match node:
                case ast.If() | ast.For() | ast.While():
                    self._read([*node.body, *node.orelse])
                case ast.With():
                    self._read(node.body)
                case ast.Try():
                    handlers = [each for handler in node.handlers for each in handler.body]
                    self._read([*node.body, *handlers, *node.orelse, *node.finalbody])
                case ast.Import() | ast.ImportFrom():
                    self._import(node)
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                    self._define(node.name, node)
                case ast.Assign() | ast.AnnAssign():
                    self._assign(node)
                case ast.AugAssign():
                    self.registrations.append((dotted(node.target), node))
                case ast.Expr(value=ast.Call() as call):
                    self.registrations.append((dotted(_called(call)), node))

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for name, meant in imported(node, self.package):
            if name == "*":
                self.stars.append(meant.removesuffix(".*"))
                continue
            if self.imports.get(name, meant) != meant or name in self.definitions:
                self.ambiguous.add(name)
            self.imports[name] = meant

    def _define(self, name: str, node: ast.stmt) -> None:
        before = self.definitions.get(name)
        if name in self.imports or (before is not None and not before.is_overload):
            self.ambiguous.add(name)
        self.definitions[name] = Definition(self.name, name, node)
        for decorator in getattr(node, "decorator_list", ()):
            self.registrations.append((dotted(_called(decorator)), node))

    def _assign(self, node: ast.Assign | ast.AnnAssign) -> None:
        for name, statement in _assigned(node):
            if name in self.definitions and isinstance(self.definitions[name].node, ast.stmt):
                self.registrations.append((name, node))
            self.definitions[name] = Definition(self.name, name, statement)
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Subscript | ast.Attribute):
                self.registrations.append((dotted(target), node))


def _called(node: ast.expr) -> ast.expr:
    """Return the innermost function of nested calls: `a.b` for `a.b(1)(2)`."""
    return _called(node.func) if isinstance(node, ast.Call) else node


def _assigned(node: ast.Assign | ast.AnnAssign) -> Iterator[tuple[str, ast.stmt]]:
    """Yield the names that a statement assigns, each with a statement that assigns only that name."""
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        if isinstance(target, ast.Name):
            yield target.id, node
        elif isinstance(target, ast.Tuple) and node.value is not None:
            value = node.value
            single = isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts)
            for number, each in enumerate(target.elts):
                if isinstance(each, ast.Name):
                    part = value.elts[number] if single and isinstance(value, ast.Tuple) else value
                    yield each.id, ast.copy_location(ast.Assign([each], part), node)


def imported(node: ast.AST, package: str) -> Iterator[tuple[str, str]]:
    """Yield the names that an import statement in a package binds, each with the dotted name that it
    means.
    """
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield (alias.asname, alias.name) if alias.asname else (alias.name.partition(".")[0],) * 2
    elif isinstance(node, ast.ImportFrom):
        parts = package.split(".")[: 1 - node.level or None] if node.level else []
        origin = ".".join([*parts, *([node.module] if node.module else [])])
        for alias in node.names:
            yield alias.asname or alias.name, f"{origin}.{alias.name}"


class Source:
    """All modules of the package and of the functions."""

    def __init__(self, folders: Mapping[str, Path] | None = None) -> None:
        folders = folders or {"murmuration": PACKAGE, "functions": FUNCTIONS}
        self.modules: dict[str, Module] = {}
        self._read: dict[Any, Any] = {}
        for package, folder in folders.items():
            for path in sorted(folder.rglob("*.py")):
                parts = [package, *path.relative_to(folder).with_suffix("").parts]
                if parts[-1] == "__init__":
                    parts.pop()
                self.modules[".".join(parts)] = Module(".".join(parts), path)

    def cached(self, read: Callable[[Definition, str], T], definition: Definition) -> T:
        """Return what `read` returns for a definition and its package. It is called once, so the result must
        not be changed.
        """
        key = (read, id(definition.node), definition)
        if key not in self._read:
            self._read[key] = read(definition, self.modules[definition.module].package)
        found: T = self._read[key]
        return found

    def find(self, dotted: str) -> Definition | str | None:
        """Return what a dotted name means: a definition, the name of one of our modules, or None for others'
        code.
        """
        seen = set()
        while dotted not in seen:
            seen.add(dotted)
            if dotted in self.modules:
                return dotted
            module_name, _, name = dotted.rpartition(".")
            module = self.modules.get(module_name)
            if module is None:
                owner = self.find(module_name) if module_name else None
                return self.member(owner, name) if isinstance(owner, Definition) else None
            if name in module.definitions:
                return module.definitions[name]
            if name in module.imports:
                dotted = module.imports[name]
            else:
                return next((found for star in module.stars if (found := self.find(f"{star}.{name}"))), None)
        return None

    def member(self, owner: Definition, name: str) -> Definition | None:
        """Return a class's own or inherited method or attribute of this name."""
        if not isinstance(owner.node, ast.ClassDef):
            return None
        for node in owner.node.body:
            if isinstance(node, Function) and node.name == name:
                return Definition(owner.module, name, node, owner.name)
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                if node.target.id == name:
                    return Definition(owner.module, name, node, owner.name)
            elif isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == name for target in node.targets
            ):
                return Definition(owner.module, name, node, owner.name)
        for base in self.bases(owner):
            if found := self.member(base, name):
                return found
        return None

    def bases(self, owner: Definition) -> list[Definition]:
        """Return a class's base classes that are in our source."""
        if not isinstance(owner.node, ast.ClassDef):
            return []
        found = [self.named(owner.module, dotted(base)) for base in owner.node.bases]
        return [each for each in found if isinstance(each, Definition) and each.is_class]

    def named(self, module: str, name: str) -> Definition | str | None:
        """Return what a name means if it is used at the top of a module."""
        first, _, rest = name.partition(".")
        home = self.modules[module]
        if first in home.definitions:
            start = f"{module}.{first}"
        elif first in home.imports:
            start = home.imports[first]
        elif home.stars:
            start = f"{module}.{first}"
        else:
            return None
        return self.find(f"{start}.{rest}" if rest else start)

    def implementations(self, owner: Definition) -> list[Definition]:
        """Return the classes that a value of this type may have: the class, its subclasses, or a protocol's
        implementations.
        """
        statement = owner.statement
        if not any(dotted(base).rpartition(".")[2] == "Protocol" for base in statement.bases):
            return [owner, *self.subclasses.get(owner.id, ())]
        wanted = {node.name for node in statement.body if isinstance(node, Function)}
        return [
            each
            for each in self.classes
            if each != owner and all(self.member(each, name) is not None for name in wanted)
        ]

    @cached_property
    def registered(self) -> dict[Definition, list[Definition]]:
        """The definitions that are added to another definition at the top of a module, by that definition.

        They are added by assigning an item or an attribute, by calling a method of it, or by a function or
        decorator that changes it.
        """
        found: dict[Definition, list[Definition]] = {}
        for module in self.modules.values():
            for number, (name, node) in enumerate(module.registrations):
                given = Definition(module.name, f"registration {number}", node)
                owner, by = self.named(module.name, name), self.named(module.name, name.rpartition(".")[0])
                holders = [each for each in (owner, by) if isinstance(each, Definition)]
                if holders and holders[0] is owner and holders[0].is_function:
                    holders[:1] = self.changed_by(holders[0])
                for holder in holders:
                    if not holder.is_class:
                        found.setdefault(holder, []).append(given)
        return found

    def changed_by(self, function: Definition) -> list[Definition]:
        """Return the definitions at the top of its module that a function changes when it is called."""
        names = set()
        for node in ast.walk(function.node):
            match node:
                case ast.Global():
                    names |= set(node.names)
                case ast.Subscript(ctx=ast.Store(), value=base) | ast.Attribute(ctx=ast.Store(), value=base):
                    names.add(dotted(base))
                case ast.Call(func=ast.Attribute(value=base, attr=method)) if method in CHANGING:
                    names.add(dotted(base))
        found = [self.named(function.module, name) for name in sorted(names - {""})]
        return [each for each in found if isinstance(each, Definition) and not each.is_class]

    @cached_property
    def classes(self) -> list[Definition]:
        return [
            each for module in self.modules.values() for each in module.definitions.values() if each.is_class
        ]

    @cached_property
    def by_id(self) -> dict[str, Definition]:
        """The classes by their IDs."""
        return {each.id: each for each in self.classes}

    @cached_property
    def subclasses(self) -> dict[str, list[Definition]]:
        """The classes below each, by its ID."""
        found: dict[str, list[Definition]] = {}
        for each in self.classes:
            todo = self.bases(each)
            for base in todo:
                found.setdefault(base.id, []).append(each)
                todo += self.bases(base)
        return found

    @cached_property
    def fields(self) -> frozenset[str]:
        """The names of all classes' fields."""
        return frozenset(
            node.target.id
            for each in self.classes
            for node in ast.walk(each.node)
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        )

    @cached_property
    def methods(self) -> dict[str, list[Definition]]:
        """Every class's own methods, by name."""
        found: dict[str, list[Definition]] = {}
        for each in self.classes:
            for node in each.statement.body:
                if isinstance(node, Function):
                    found.setdefault(node.name, []).append(
                        Definition(each.module, node.name, node, each.name)
                    )
        return found


def dotted(node: ast.AST) -> str:
    """Return `a.b.c` for an expression that is a name or its attributes, else "". For a subscript, return
    that of its base.
    """
    if isinstance(node, ast.Subscript):
        return dotted(node.value)
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""
