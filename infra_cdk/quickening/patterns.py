"""Rewrites modules so that their regular expressions are compiled when first used.

`NAME = re.compile(…)` in a module or class becomes `NAME = lazily.Pattern(…)`, if the code only uses methods
of NAME: `re.sub(NAME, …)` needs a real pattern.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

METHODS = frozenset(
    {"match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer", "pattern"}
)


def put_off_patterns(trees: Mapping[str, ast.Module]) -> set[str]:
    """Rewrite, in all of `trees` together, the patterns that can be deferred. Returns the names of the trees
    that changed.
    """
    used_otherwise = {name for tree in trees.values() for name in _used_otherwise(tree)}
    return {name for name, tree in trees.items() if _rewrite(tree, used_otherwise)}


def _used_otherwise(tree: ast.AST) -> Iterable[str]:
    """Return the names and attributes that are used for something else than calling a method of a pattern."""
    fine = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in METHODS
    }
    for node in ast.walk(tree):
        if id(node) in fine:
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield node.attr


def _rewrite(tree: ast.Module, used_otherwise: set[str]) -> bool:
    changed = False
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    for statement in (*tree.body, *(inner for found in classes for inner in found.body)):
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call() as call) if (
                name not in used_otherwise and ast.unparse(call.func) == "re.compile"
            ):
                call.func = ast.parse("lazily.Pattern", mode="eval").body
                changed = True
    if changed:
        add_import(tree, "import lazily")
    return changed


def add_import(tree: ast.Module, text: str) -> None:
    """Put an import before everything except the docstring and `from __future__`."""
    place = 0
    for number, statement in enumerate(tree.body):
        is_docstring = number == 0 and ast.get_docstring(tree, clean=False) is not None
        if is_docstring or (isinstance(statement, ast.ImportFrom) and statement.module == "__future__"):
            place = number + 1
    tree.body.insert(place, ast.parse(text).body[0])
