"""What becomes of a transaction's ephemeral data, by its type.

`CONSUMERS` is the table from an EDU's type to the function that takes all of a transaction's EDUs of this
type, in order, with the server that sent them. A type that isn't in it is ignored, as the specification wants
of unknown ones.
https://spec.matrix.org/v1.19/server-server-api/#edus
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

Contents = Sequence[dict[str, Any]]
Consumer = Callable[[str, Contents], None]

CONSUMERS: Mapping[str, Consumer] = MappingProxyType({})


def take_edus(origin: str, edus: Sequence[Any]) -> None:
    """Hand a transaction's EDUs to their consumers. What is malformed is ignored."""
    by_type: dict[str, list[dict[str, Any]]] = {}
    for edu in edus:
        if not isinstance(edu, dict) or not isinstance(edu.get("content"), dict):
            continue
        edu_type = edu.get("edu_type")
        if isinstance(edu_type, str) and edu_type in CONSUMERS:
            by_type.setdefault(edu_type, []).append(edu["content"])
    for edu_type, contents in by_type.items():
        CONSUMERS[edu_type](origin, contents)
