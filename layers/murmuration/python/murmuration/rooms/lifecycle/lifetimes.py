"""How long messages are kept: the lifetime that a room sets, within the server's limits.

https://github.com/matrix-org/matrix-spec-proposals/pull/1763
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Content

_MOST = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Limits:
    """The server's limits for the lifetime of messages, in milliseconds.

    `default` applies to rooms that set no lifetime; None keeps their messages for ever. A room's lifetime is
    moved into the range `shortest`..`longest`; if `longest` is None there is no upper bound.
    """

    default: int | None = None
    shortest: int = 0
    longest: int | None = None


def lifetime_of(content: Content | None, limits: Limits) -> int | None:
    """Return the lifetime of a room's messages in milliseconds; None keeps them for ever.

    `content` is that of m.room.retention; an invalid one counts as missing.
    """
    asked = _lifetimes(content or {})
    if asked is None or asked[1] is None:
        return limits.default
    lifetime = max(asked[1], limits.shortest)
    return lifetime if limits.longest is None else min(lifetime, limits.longest)


def _lifetimes(content: Content) -> tuple[int | None, int | None] | None:
    """Return `min_lifetime` and `max_lifetime`, each None if missing; None instead of both if one is
    invalid.
    """
    found: list[int | None] = []
    for name in ("min_lifetime", "max_lifetime"):
        value = content.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            return None
        if value is not None and not 0 <= value <= _MOST:
            return None
        found.append(value)
    low, high = found
    return None if low is not None and high is not None and low > high else (low, high)
