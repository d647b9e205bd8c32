"""The source as definitions that names lead to: modules, functions, classes, constants."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Function = ast.FunctionDef | ast.AsyncFunctionDef
ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "layers" / "murmuration" / "python" / "murmuration"
FUNCTIONS = ROOT / "functions"


@dataclass(frozen=True, slots=True)
class Definition:
    """Something that a name stands for. `owner` is the class of a method."""

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
        """A class's statement. Raises TypeError for what is no class."""
        if not isinstance(self.node, ast.ClassDef):
            raise TypeError(f"{self.id} is no class")
        return self.node

    @property
    def is_function(self) -> bool:
        return isinstance(self.node, Function)


class Module:
    """A file: what it defines and what it imports at its top."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self.tree = ast.parse(path.read_text(), str(path))
        self.imports: dict[str, str] = {}
        self.definitions: dict[str, Definition] = {}
        self._read(self.tree.body)

    def _read(self, body: list[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, ast.If | ast.Try):
                self._read([*node.body, *node.orelse])
                continue
            self.imports |= dict(imported(node))
            if isinstance(node, Function | ast.ClassDef):
                self.definitions[node.name] = Definition(self.name, node.name, node)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                for name, statement in _assigned(node):
                    self.definitions[name] = Definition(self.name, name, statement)


def _assigned(node: ast.Assign | ast.AnnAssign) -> Iterator[tuple[str, ast.stmt]]:
    """The names that a statement assigns, each with a statement that assigns it alone."""
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


def imported(node: ast.AST) -> Iterator[tuple[str, str]]:
    """The names that an import statement binds, and what each stands for, dotted."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield (alias.asname, alias.name) if alias.asname else (alias.name.partition(".")[0],) * 2
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        for alias in node.names:
            yield alias.asname or alias.name, f"{node.module}.{alias.name}"


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

    def cached(self, read: Callable[[Definition], T], definition: Definition) -> T:
        """What `read` makes of a definition, read once. Nobody may change it."""
        key = (read, id(definition.node), definition)
        if key not in self._read:
            self._read[key] = read(definition)
        found: T = self._read[key]
        return found

    def find(self, dotted: str) -> Definition | str | None:
        """What a dotted name stands for: a definition, the name of a module of ours, or None for others'."""
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
            if name not in module.imports:
                return None
            dotted = module.imports[name]
        return None

    def member(self, owner: Definition, name: str) -> Definition | None:
        """A class's method or attribute of this name, its own or inherited."""
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
        """A class's base classes, those of ours."""
        if not isinstance(owner.node, ast.ClassDef):
            return []
        found = [self.named(owner.module, dotted(base)) for base in owner.node.bases]
        return [each for each in found if isinstance(each, Definition) and each.is_class]

    def named(self, module: str, name: str) -> Definition | str | None:
        """What a name that is used at a module's top stands for."""
        first, _, rest = name.partition(".")
        home = self.modules[module]
        if first in home.definitions:
            start = f"{module}.{first}"
        elif first in home.imports:
            start = home.imports[first]
        else:
            return None
        return self.find(f"{start}.{rest}" if rest else start)

    def implementations(self, owner: Definition) -> list[Definition]:
        """The classes that a value of a class may have: itself and those below, or who keep to a protocol."""
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
    """`a.b.c` of an expression that is a name or attributes of one; else "". A subscript's base is it."""
    if isinstance(node, ast.Subscript):
        return dotted(node.value)
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""
