"""Rewrites modules so that chosen imports wait until a function needs them.

It does to a copy of the packages in the layer what PEP 810's `lazy import` will do: an import at the top of a
module moves into the functions that use its name. If the name is used while the module itself is being
imported, the import stays. Other modules that ask this one for the name still get it (PEP 562).
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class _Import:
    """One name that an import statement binds. `statement` binds it alone."""

    name: str
    statement: ast.Import | ast.ImportFrom


def put_off_imports(
    tree: ast.Module, targets: Collection[str], package: str = "", *, is_package: bool = False
) -> bool:
    """Defer a module's imports of `targets` and of their submodules. Returns whether any import was deferred.

    The module belongs to `package`, or is that package (`is_package`). A package keeps the imports of its own
    modules, because importing makes them its attributes.
    """
    if any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in tree.body):
        return False
    functions = list(_outermost_functions(tree))
    at_import = _names_used_at_import(tree, functions)
    put_off: list[_Import] = []
    body: list[ast.stmt] = []
    for statement in tree.body:
        if not isinstance(statement, ast.Import | ast.ImportFrom):
            body.append(statement)
            continue
        stay = []
        for alias in statement.names:
            found = _Import(alias.asname or alias.name.partition(".")[0], _alone(statement, alias))
            if (
                _is_target(statement, alias, targets, package, package if is_package else "")
                and found.name not in at_import
                and not any(_rebinds(function, found.name) for function in functions)
            ):
                put_off.append(found)
            else:
                stay.append(alias)
        if stay:
            statement.names = stay
            body.append(statement)
    if not put_off:
        return False
    for function in functions:
        for found in put_off:
            _import_inside(function.body, found)
    tree.body = [*body, _getattr(put_off)]
    return True


def _alone(statement: ast.Import | ast.ImportFrom, alias: ast.alias) -> ast.Import | ast.ImportFrom:
    if isinstance(statement, ast.Import):
        return ast.Import([alias])
    return ast.ImportFrom(statement.module, [alias], statement.level)


def _is_target(
    statement: ast.Import | ast.ImportFrom,
    alias: ast.alias,
    targets: Collection[str],
    package: str,
    itself: str,
) -> bool:
    if isinstance(statement, ast.Import):
        modules = [alias.name]
    elif statement.module == "__future__" or alias.name == "*":
        return False
    else:
        base = package.split(".")[: len(package.split(".")) - statement.level + 1] if statement.level else []
        origin = ".".join([*base, *([statement.module] if statement.module else [])])
        modules = [origin, f"{origin}.{alias.name}"]
    if itself and any(module == itself or module.startswith(f"{itself}.") for module in modules):
        return False
    return any(
        module == target or module.startswith(f"{target}.") for module in modules for target in targets
    )


def _outermost_functions(node: ast.AST) -> Iterator[Function]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield child
        elif not isinstance(child, ast.Lambda):
            yield from _outermost_functions(child)


def _names_used_at_import(tree: ast.Module, functions: Collection[Function]) -> set[str]:
    """Return the names that are evaluated, assigned or deleted while the module is imported, outside of
    functions.

    A name that `global` declares counts, because a function may assign it.
    """
    used = set()
    bodies = {id(statement) for function in functions for statement in function.body}
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if id(node) in bodies:
            used |= {
                name for inner in ast.walk(node) if isinstance(inner, ast.Global) for name in inner.names
            }
            continue
        if isinstance(node, ast.Name):
            used.add(node.id)
        pending += ast.iter_child_nodes(node)
    nested = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    for statement in nested:  # a name that an `if` or `try` imports in another way keeps its import
        for node in ast.walk(statement):
            if isinstance(node, ast.Import | ast.ImportFrom):
                used |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return used


def _rebinds(function: Function, name: str) -> bool:
    """Return whether `name` means something else somewhere in `function`: a parameter, a variable, a caught
    error.
    """
    for node in ast.walk(function):
        match node:
            case ast.arg(arg=found) | ast.ExceptHandler(name=found) if found == name:
                return True
            case ast.Name(id=found, ctx=ast.Store() | ast.Del()) if found == name:
                return True
            case ast.FunctionDef(name=found) | ast.ClassDef(name=found) if found == name:
                if node is not function:
                    return True
            case _:
                pass
    return False


def _import_inside(block: list[ast.stmt], put_off: _Import) -> None:
    """Import a deferred name in `block` before its first use, or in the one inner block that needs it."""
    users = [statement for statement in block if _uses(statement, put_off.name)]
    if not users:
        return
    if len(users) == 1 and not isinstance(users[0], ast.ClassDef):  # a class's methods wouldn't see it
        blocks = [
            inner
            for name in ("body", "orelse", "finalbody")
            if isinstance(inner := getattr(users[0], name, None), list)
        ]
        using = [inner for inner in blocks if any(_uses(statement, put_off.name) for statement in inner)]
        inside = sum(_count(statement, put_off.name) for inner in blocks for statement in inner)
        if len(using) == 1 and inside == _count(users[0], put_off.name):
            _import_inside(using[0], put_off)
            return
    block.insert(block.index(users[0]), put_off.statement)


def _uses(node: ast.AST, name: str) -> bool:
    return _count(node, name) > 0


def _count(node: ast.AST, name: str) -> int:
    return sum(isinstance(inner, ast.Name) and inner.id == name for inner in ast.walk(node))


def _getattr(put_off: Collection[_Import]) -> ast.FunctionDef:
    """Return the module's `__getattr__`, which imports the deferred names when they are requested."""
    names = list(dict.fromkeys(found.name for found in put_off))
    cases = "\n".join(
        f"    if name == {name!r}:\n"
        + "".join(f"        {ast.unparse(found.statement)}\n" for found in put_off if found.name == name)
        + f"        return {name}"
        for name in names
    )
    message = "f'module {__name__!r} has no attribute {name!r}'"
    text = f"def __getattr__(name):\n{cases}\n    raise AttributeError({message})"
    function = ast.parse(text).body[0]
    if not isinstance(function, ast.FunctionDef):
        raise TypeError("the text is not a function")
    return function
