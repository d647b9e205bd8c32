"""The target of a federation request: path and query, percent-encoded once, both for signing and for
sending.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

Query = Mapping[str, str | int | bool | Sequence[str] | None]


def path(*parts: str) -> str:
    """Return the path of these parts, each percent-encoded: `path("_matrix", "federation", "v1",
    "version")`.
    """
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def target(of_path: str, query: Query | None = None) -> str:
    """Return the path, with the query if it isn't empty. A list repeats its name; None leaves the
    name out.
    """
    pairs = [
        (name, _text(each))
        for name, value in (query or {}).items()
        if value is not None
        for each in (value if isinstance(value, (list, tuple)) else (value,))
    ]
    return f"{of_path}?{urlencode(pairs, quote_via=quote, safe='')}" if pairs else of_path


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
