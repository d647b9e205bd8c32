"""The port by which a room's policy server is asked to sign an event.

Federation brings what asks: it stands above the rooms, which know nothing of the network. The edge connects
the two before anything else is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from murmuration.protocol.events import Event
    from murmuration.protocol.pdus.validation import PolicyServer


class PolicyClient(Protocol):
    """What asks policy servers."""

    def ask_to_sign(self, server: PolicyServer, event: Event) -> Event:
        """The event with the policy server's signature beside those that it has.

        Raises MatrixError: what the policy server refuses it with, in its words; Forbidden if it gives no
        valid signature; BadGateway and GatewayTimeout if it doesn't answer.
        """


_connected: list[Callable[[], PolicyClient]] = []


def connect(make_client: Callable[[], PolicyClient]) -> None:
    """Have policy servers asked by what `make_client` returns, which is called when it is needed."""
    _connected[:] = [make_client]


def policy_client() -> PolicyClient | None:
    """Return the client that asks policy servers; None where none is connected."""
    return _connected[0]() if _connected else None
