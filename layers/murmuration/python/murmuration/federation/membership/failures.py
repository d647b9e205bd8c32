"""The errors that clients get if other servers refuse or don't answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from murmuration.federation.requests.errors import RateLimited, Refused, RequestFailed
from murmuration.protocol.errors import BadGateway, LimitExceeded, MatrixError, Refusal

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import ServerName

T = TypeVar("T")
_OURS = ("M_MISSING_PARAM", "M_INVALID_PARAM", "M_BAD_JSON", "M_NOT_JSON", "M_UNAUTHORIZED", "M_UNRECOGNIZED")
"""Errors that mean that this server's request was wrong: a client can't do anything about them."""
_FINAL = ("M_INCOMPATIBLE_ROOM_VERSION", "M_INVITE_BLOCKED")
"""Errors that another server would return as well."""
_MOST_REFUSALS = 3
"""After this many servers have forbidden something, no more are asked."""


def passed_on(error: RequestFailed) -> MatrixError:
    """Return the error for the client when another server refused or failed."""
    if isinstance(error, RateLimited):
        return LimitExceeded(
            "Another server limits requests; try again later", retry_after_ms=error.retry_after_ms
        )
    if not isinstance(error, Refused):
        return BadGateway(f"Another server gave no usable answer: {error}")
    if not 400 <= error.status < 500 or not error.errcode.startswith("M_") or error.errcode in _OURS:
        return BadGateway(f"Another server answered {error.status}: {error.message or error.errcode}")
    version = error.body.get("room_version")
    fields = {"room_version": version} if isinstance(version, str) else {}
    return Refusal(error.status, error.errcode[:100], error.message or "Another server refused", **fields)


def first_answer(
    servers: Iterable[ServerName],
    ask: Callable[[ServerName], T],
    *,
    final: tuple[type[MatrixError], ...] = (),
) -> T:
    """Ask servers one after the other, and return the first answer that isn't an error.

    After an error that is `final` no other server is asked. If all fail, raises the most informative error: a
    refusal rather than a missing answer. Raises BadGateway if there are no servers.
    """
    failures: list[MatrixError] = []
    forbidden = 0
    for server in servers:
        try:
            return ask(server)
        except RequestFailed as error:
            failures.append(passed_on(error))
        except MatrixError as error:
            failures.append(error)
        if failures[-1].errcode in _FINAL or isinstance(failures[-1], final):
            raise failures[-1]
        forbidden += failures[-1].status == 403
        if forbidden >= _MOST_REFUSALS:
            break
    raise _worst(failures)


def _worst(failures: Sequence[MatrixError]) -> MatrixError:
    if not failures:
        return BadGateway("No server is known that could help")
    return min(failures, key=lambda it: (it.status != 403, it.status >= 500))
