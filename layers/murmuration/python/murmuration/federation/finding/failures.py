"""The client's error if another server doesn't answer a question on the client's behalf."""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.federation.membership.failures import passed_on
from murmuration.federation.requests.errors import RequestFailed, TimedOut
from murmuration.protocol.errors import GatewayTimeout, MatrixError

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import ServerName


def told(server: ServerName, error: RequestFailed) -> MatrixError:
    """Return the client's error: 504 if the server took too long, else 502 or the server's own error."""
    if isinstance(error, TimedOut):
        return GatewayTimeout(f"{server} did not answer in time")
    return passed_on(error)
