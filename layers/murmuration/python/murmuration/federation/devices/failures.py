"""The entry in `failures` for a server that couldn't be asked, and the time limit for servers' answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.protocol.encoding.shapes import Body
from murmuration.protocol.errors import BadJson

if TYPE_CHECKING:
    from murmuration.federation.shapes import Failure

DEFAULT_SECONDS, LEAST_SECONDS, MOST_SECONDS = 10.0, 1.0, 22.0
"""A client's own `timeout` is kept between the last two values, because a function has 29 seconds."""


def unavailable(message: str) -> Failure:
    """Return the entry in `failures` for a server that couldn't be asked."""
    return {"errcode": "M_UNAVAILABLE", "error": message[:200]}


def seconds_of(body: Body) -> float:
    """Return the time limit for other servers in seconds, from the request's `timeout` (ms). Raises
    BadJson.
    """
    timeout = body.get("timeout")
    if timeout is None:
        return DEFAULT_SECONDS
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise BadJson("timeout must be a number of milliseconds")
    return min(max(timeout / 1000, LEAST_SECONDS), MOST_SECONDS)
