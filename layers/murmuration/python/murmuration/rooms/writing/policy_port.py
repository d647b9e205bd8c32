"""The port through which a room's policy server is asked to sign an event.

Federation connects a client to it, because `rooms` doesn't use the network itself. `endpoint` makes the
connection before anything else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from murmuration.protocol.events import Event
    from murmuration.protocol.pdus.validation import PolicyServer


class PolicyClient(Protocol):
    """A client that asks policy servers to sign events."""

    def ask_to_sign(self, server: PolicyServer, event: Event) -> Event:
        """Return the event with the policy server's signature added.

        Raises the error with which the policy server refuses the event; Forbidden if its signature is
        invalid; BadGateway or GatewayTimeout if it doesn't answer.
        """


_connected: list[Callable[[], PolicyClient]] = []


def connect(make_client: Callable[[], PolicyClient]) -> None:
    """Use the client that `make_client` returns from now on. It is created when it is first needed."""
    _connected[:] = [make_client]


def policy_client() -> PolicyClient | None:
    """Return the connected client; None if none is connected."""
    return _connected[0]() if _connected else None
