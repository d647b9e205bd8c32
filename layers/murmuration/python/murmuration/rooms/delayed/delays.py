"""The delay that a request asks for, and how long it may be.

Clients use one of two ways: a query parameter of the ordinary endpoints, as today's apps do, or a separate
endpoint. A delay that this server doesn't understand is always refused. If it were ignored, the event would
be sent at once: for example a client's leave event for a call, in the moment in which it joins the call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from murmuration.protocol.bodies import required
from murmuration.protocol.encoding.shapes import Body
from murmuration.protocol.errors import (
    DelayTooLarge,
    Forbidden,
    InvalidParam,
    Unknown,
    UnstableDelayTooLarge,
)
from murmuration.settings import settings

UNSTABLE = "org.matrix.msc4140"
NAMES = (f"{UNSTABLE}.delay", "delay")
"""The query parameters that ask for a delay in milliseconds."""
_DIGITS = 15


def max_delay_ms() -> int:
    """Return the longest allowed delay in milliseconds; 0 if the server has no delayed events."""
    return settings().event_delay_max * 1000


def delay_in_query(query: Mapping[str, Sequence[str]]) -> int | None:
    """Return the delay in milliseconds that the query asks for; None if it asks for none.

    Raises InvalidParam, Forbidden if the server has no delayed events, Unknown for too long a delay.
    """
    about = {name: values for name, values in query.items() if _is_about_delays(name)}
    if not about:
        return None
    if unknown := sorted(set(about) - set(NAMES)):
        raise InvalidParam(f"The query parameter {unknown[0][:80]} is not supported")
    values = [value for each in about.values() for value in each]
    if len(values) != 1:
        raise InvalidParam("The delay must be given once")
    text = values[0]
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise InvalidParam("The delay must be a whole number of milliseconds")
    delay_ms = _positive(int(text))
    if delay_ms > (longest := max_delay_ms()):
        raise Unknown(_too_long(), **_told(longest), **{f"{UNSTABLE}.errcode": "M_MAX_DELAY_EXCEEDED"})
    return delay_ms


def refuse_delay(query: Mapping[str, Sequence[str]]) -> None:
    """Raise InvalidParam if the query parameters ask for a delay at an endpoint that has none."""
    if any(map(_is_about_delays, query)):
        raise InvalidParam("This endpoint does not support delayed events")


def delay_in_body(body: Body, *, unstable: bool) -> int:
    """Return the delay that the body of the endpoint for delayed events asks for.

    Raises MissingParam, InvalidParam, Forbidden, and one of the two DelayTooLarge errors, depending on the
    client's names.
    """
    value = required(body, "delay_ms")
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidParam("delay_ms must be a whole number of milliseconds")
    delay_ms = _positive(value)
    if delay_ms > (longest := max_delay_ms()):
        raise (UnstableDelayTooLarge if unstable else DelayTooLarge)(_too_long(), **_told(longest))
    return delay_ms


def _is_about_delays(name: str) -> bool:
    return name.startswith((f"{UNSTABLE}.", "delay_")) or name in ("delay", "parent_delay_id")


def _positive(delay_ms: int) -> int:
    if not max_delay_ms():
        raise Forbidden("This server has no delayed events")
    if delay_ms <= 0:
        raise InvalidParam("The delay must be more than 0 milliseconds")
    return delay_ms


def _too_long() -> str:
    return f"A delay may have {max_delay_ms()} milliseconds"


def _told(longest: int) -> dict[str, int]:
    return {f"{UNSTABLE}.max_delay": longest}
