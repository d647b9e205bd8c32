"""Identifiers are types in every signature and field of what is deployed (`protocol.identifiers`)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.house import PACKAGE, REPOSITORY, modules, tree

NAMED = re.compile(r"(?:^|_)(?:(?:user|room|event|device)_id|server_name|origin|destination)s?$")
TEXT = re.compile(r"\bstr\b")
PARSERS = "murmuration.protocol.identifiers"
"""Its functions take texts: they tell whether a text is an identifier."""
TEXTS = {
    "murmuration.media.incoming.signed_ids:new_signed_id.server_name": "what a path names, and what signs it",
    "murmuration.media.incoming.signed_ids:is_signed_for.server_name": "what a path names, and what signs it",
    "murmuration.media.incoming.signed_ids:_signature.server_name": "what a path names, and what signs it",
    "murmuration.federation.inbound.asking:_fits.event_id": "what another server names, before it is checked",
    "murmuration.storage.servers.unobtainable:read.event_ids": "an ID with a word in front, or without",
    "murmuration.storage.servers.unobtainable:remember.event_ids": "an ID with a word in front, or without",
    "murmuration.storage.servers.unobtainable:_key.event_id": "an ID with a word in front, or without",
}
"""Parameters and fields that are texts, and why."""


def annotated(node: ast.AST, owner: str) -> Iterator[tuple[str, ast.expr]]:
    """Yield the name and the annotation of each parameter, field and returned value below a node."""
    for child in ast.iter_child_nodes(node):
        inside = owner
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            inside = child.name
            arguments = child.args
            for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
                if each.annotation is not None:
                    yield f"{inside}.{each.arg}", each.annotation
            if child.returns is not None:
                yield child.name, child.returns
        elif isinstance(child, ast.ClassDef):
            inside = child.name
        elif isinstance(child, ast.AnnAssign):
            target = child.target
            name = target.id if isinstance(target, ast.Name) else getattr(target, "attr", "")
            yield f"{inside}.{name}", child.annotation
        yield from annotated(child, inside)


def texts_named_as_identifiers() -> set[str]:
    return {
        f"{module}:{place}"
        for folder, package in ((PACKAGE, "murmuration"), (REPOSITORY / "functions", "functions"))
        for module, path in modules(folder, package)
        if module != PARSERS
        for place, annotation in annotated(tree(path), "")
        if NAMED.search(place.rpartition(".")[2]) and TEXT.search(ast.unparse(annotation))
    }


def test_identifiers_are_types() -> None:
    """A `user_id: str` would take a room ID too: mypy finds two identifiers that are swapped."""
    assert texts_named_as_identifiers() == TEXTS.keys()
