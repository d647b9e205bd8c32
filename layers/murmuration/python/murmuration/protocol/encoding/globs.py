"""Glob patterns, for push rules, server ACLs and filters.

`*` matches zero or more characters, `?` exactly one. One user writes a pattern, and it is matched against
what another sends, so matching must not take exponential time: each part between two `*` is searched once,
from where the part before it ended, and never tried again.
https://spec.matrix.org/v1.19/appendices/#glob-style-matching
"""

from __future__ import annotations

import re
from functools import lru_cache

_WORD = "[A-Za-z0-9_]"
# Between two characters of which at least one isn't part of a word, or at an end of the text.
_WORD_BOUNDARY = f"(?:(?<!{_WORD})|(?!{_WORD}))"


class Glob:
    """A compiled pattern; get it from `glob`, which caches those in use."""

    __slots__ = ("_case_sensitive", "_parts")

    def __init__(self, pattern: str, *, words: bool, case_sensitive: bool, question_mark: bool) -> None:
        self._case_sensitive = case_sensitive
        parts = (pattern if case_sensitive else pattern.lower()).split("*")
        expressions = ["".join(_expression(part, question_mark)) for part in parts]
        expressions[0] = (_WORD_BOUNDARY if words else r"\A") + expressions[0]
        expressions[-1] += _WORD_BOUNDARY if words else r"\Z"
        self._parts = [re.compile(expression, re.DOTALL) for expression in expressions]

    def matches(self, text: str) -> bool:
        if not self._case_sensitive:
            text = text.lower()
        position = 0
        for part in self._parts:
            found = part.search(text, position)
            if found is None:
                return False
            position = found.end()
        return True


def _expression(part: str, question_mark: bool) -> list[str]:
    return ["." if char == "?" and question_mark else re.escape(char) for char in part]


@lru_cache(maxsize=1024)
def glob(
    pattern: str, *, words: bool = False, case_sensitive: bool = False, question_mark: bool = True
) -> Glob:
    """Return `pattern` compiled to match whole texts; with `words`, to match a part between word boundaries.

    Without `question_mark`, `?` matches only itself.
    """
    return Glob(pattern, words=words, case_sensitive=case_sensitive, question_mark=question_mark)


def contains_phrase(text: str, phrase: str) -> bool:
    """Return whether `phrase`, which has no wildcards, is in `text` between word boundaries, ignoring
    case.
    """
    expression = f"{_WORD_BOUNDARY}{re.escape(phrase.lower())}{_WORD_BOUNDARY}"
    return re.search(expression, text.lower()) is not None
