"""Makes modules quick to import, only in the layers: work that isn't needed at import is deferred.

Imports are moved into functions (`imports`). Regular expressions are compiled (`patterns`), and dataclasses
made, when first used. The modules behave the same; tests run on a quickened copy too. Half of the import time
of our own modules is spent on making dataclasses, and a fifth of botocore's on compiling regular expressions.
"""

from __future__ import annotations

import ast
import shutil
from collections.abc import Collection
from pathlib import Path

from infra_cdk.quickening.imports import put_off_imports
from infra_cdk.quickening.patterns import add_import, put_off_patterns

SUPPORT = Path(__file__).parent / "lazily.py"


def quicken(folder: Path, targets: Collection[str]) -> None:
    """Rewrite the modules of the package in `folder`. Only imports of `targets` are deferred.

    Docstrings are removed, because nothing reads them in a layer.
    """
    trees, packages = {}, {}
    for path in sorted(folder.rglob("*.py")):
        trees[str(path)] = ast.parse(path.read_text(encoding="utf-8"))
        packages[str(path)] = ".".join(path.relative_to(folder.parent).parent.parts)
    put_off_patterns(trees)
    for name, tree in trees.items():
        is_package = name.endswith("__init__.py")
        put_off_imports(tree, targets, packages[name], is_package=is_package)
        put_off_dataclasses(tree)
        strip_docstrings(tree)
    for name, tree in trees.items():
        text = ast.unparse(ast.fix_missing_locations(tree)) + "\n"
        Path(name).write_text(text, encoding="utf-8")


def add_support(site: Path) -> None:
    """Copy the run-time part (`lazily`) to where quickened modules import it from."""
    shutil.copy(SUPPORT, site / SUPPORT.name)


def put_off_dataclasses(tree: ast.Module) -> bool:
    """Make `from dataclasses import dataclass` import ours instead. Returns whether the module has such an
    import.
    """
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.module == "dataclasses":
            found = [alias for alias in statement.names if alias.name == "dataclass" and not alias.asname]
            if found:
                statement.names.remove(found[0])
                if not statement.names:
                    tree.body.remove(statement)
                add_import(tree, "from lazily import dataclass")
                return True
    return False


def strip_docstrings(tree: ast.Module) -> None:
    """Remove all docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node, clean=False) is not None:
                del node.body[0]
            if not node.body and not isinstance(node, ast.Module):
                node.body.append(ast.Pass())
