"""The size of answers: a function can return 6 MB, so every list is cut by bytes.

Sizes are those of JSON in UTF-8. `LIST_BYTES` always fit into a function's answer; if the quotes in them make
it too long as a string, it is sent as base64. `docs/limits.md` says what limits each endpoint's answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import AnyClientEvent

LIST_BYTES = 4_400_000
"""The maximum size of an answer that can be continued by a further request."""
_BUNDLES: Final = "m.relations"


@dataclass(frozen=True, slots=True)
class JsonText:
    """JSON of any length that is already encoded, piece by piece."""

    pieces: Iterable[str]


@dataclass(frozen=True, slots=True)
class RawJson:
    """A part of an answer that is already JSON text."""

    text: str


_PLACE = {"": float("nan")}
_ENCODED_PLACE = '{"":NaN}'
"""The placeholder for a RawJson while the rest of the answer is encoded. It can't occur otherwise: parsed
values have no NaN, and quotes within strings are escaped."""


def encode(value: object) -> list[str]:
    """Return the compact JSON of a value that may contain RawJson, piece by piece."""
    raw: list[str] = []

    def take_place(inner: object) -> dict[str, float]:
        if not isinstance(inner, RawJson):
            raise TypeError(f"{type(inner).__name__} has no JSON")
        raw.append(inner.text)
        return _PLACE

    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=take_place)
    if not raw:
        return [text]
    first, *others = text.split(_ENCODED_PLACE)
    return [first, *(piece for pair in zip(raw, others, strict=True) for piece in pair)]


def json_bytes(value: object) -> int:
    """Return the size of a JSON value in an answer, in bytes."""
    return sum(len(piece.encode()) for piece in encode(value))


class Budget:
    """A number of bytes for the things that one answer lists."""

    def __init__(self, size: int) -> None:
        self.left = size
        self.is_untouched = True

    def take(self, size: int) -> bool:
        """Use `size` bytes and return True; return False if fewer are left.

        The first call always succeeds, so that each page of an answer has at least one entry.
        """
        if size > self.left and not self.is_untouched:
            return False
        self.spend(size)
        return True

    def spend(self, size: int) -> None:
        """Use `size` bytes, even if fewer are left."""
        self.left -= size
        self.is_untouched = False


def count_fitting(values: Iterable[Any], budget: Budget) -> int:
    """Return how many of the values fit, from the first on; at least one."""
    count = 0
    for value in values:
        if not budget.take(json_bytes(value) + 1):
            break
        count += 1
    return count


def fit_events(events: Sequence[AnyClientEvent], budget: Budget) -> int:
    """Return how many of the rendered events fit, from the first on; at least one.

    Bundled aggregations are counted after the events themselves. If there is no room for one, it is removed
    from its event; the client can ask for it with /relations.
    """
    sizes = [json_bytes(event) + 1 for event in events]
    bundles = [_bundle_bytes(event) for event in events]
    count = 0
    for size, bundled in zip(sizes, bundles, strict=True):
        if not budget.take(size - bundled):
            break
        count += 1
    for event, bundled in zip(events[:count], bundles, strict=False):
        if bundled > budget.left:
            unsigned = event["unsigned"].copy()
            del unsigned[_BUNDLES]
            event["unsigned"] = unsigned
        elif bundled:
            budget.spend(bundled)
    return count


def _bundle_bytes(event: AnyClientEvent) -> int:
    bundles = event.get("unsigned", {}).get(_BUNDLES)
    return json_bytes(bundles) if bundles else 0
