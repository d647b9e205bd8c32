"""Errors of requests to other servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Untrusted


class RequestFailed(Exception):
    """The other server gave no usable answer. The message contains no secret."""


class Unreachable(RequestFailed):
    """The server wasn't reached, or a proxy in front of it says that it isn't running. Counts as the server's
    failure.
    """


class TimedOut(Unreachable):
    """The server was reached, but did not answer in time."""


class BackingOff(Unreachable):
    """The server failed recently and isn't asked before `retry_at_ms`: nothing was sent."""

    def __init__(self, message: str, retry_at_ms: int) -> None:
        super().__init__(message)
        self.retry_at_ms = retry_at_ms


class Refused(RequestFailed):
    """The server answered with an error: its `status`, and the `errcode` ("" if none) and `body` of
    its JSON.
    """

    def __init__(self, status: int, body: Untrusted) -> None:
        errcode, message = body.get("errcode"), body.get("error")
        self.status = status
        self.errcode = errcode if isinstance(errcode, str) else ""
        self.message = message[:1000] if isinstance(message, str) else ""
        self.body = body
        super().__init__(f"{status} {self.errcode[:100]} {self.message}".strip())

    @property
    def is_unknown_endpoint(self) -> bool:
        """Whether the error means that the server lacks the endpoint, rather than that the request is wrong.

        Servers from before version 1.6 of the specification, and proxies, return no errcode in this case.
        """
        return self.errcode == "M_UNRECOGNIZED" or (self.status in (404, 405) and not self.errcode)


class RateLimited(Refused):
    """The server answered with 429. It isn't asked again for `retry_after_ms`."""

    def __init__(self, body: Untrusted, retry_after_ms: int) -> None:
        super().__init__(429, body)
        self.retry_after_ms = retry_after_ms


class Malformed(RequestFailed):
    """The server answered with status 200, but the body isn't JSON, isn't an object, or is too large."""
