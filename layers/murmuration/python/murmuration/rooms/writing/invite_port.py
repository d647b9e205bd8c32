"""The port by which another server is asked to sign an invite of its user, before it becomes part of a room.

Federation brings what asks, as with policy servers: see `policy_port`. So no way of sending can forget it.
https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from murmuration.protocol.events import Event
    from murmuration.rooms.room import Room


class InviteClient(Protocol):
    """What asks the servers of invited users."""

    def ask_for_invite(self, room: Room, event: Event) -> Event:
        """The invite with the signature of the invited user's server.

        Raises MatrixError: Forbidden where the room or this server is not for that server's users, what that
        server refuses the invite with, BadGateway and GatewayTimeout if it doesn't answer.
        """


_connected: list[Callable[[], InviteClient]] = []


def connect(make_client: Callable[[], InviteClient]) -> None:
    """Have servers asked by what `make_client` returns, which is called when it is needed."""
    _connected[:] = [make_client]


def invite_client() -> InviteClient | None:
    """Return the client that asks the servers of invited users; None where none is connected."""
    return _connected[0]() if _connected else None


def signed_by_invited(room: Room, event: Event) -> Event:
    """The event, signed by another server if it invites a user of that one.

    Raises what `InviteClient.ask_for_invite` does, Unavailable where nothing is connected that could ask.
    """
    from murmuration.protocol.errors import Unavailable
    from murmuration.storage.rooms import member_index

    if event.membership != "invite" or member_index.is_local(event.state_key or ""):
        return event
    client = invite_client()
    if client is None:
        raise Unavailable("Users of other servers can't be invited from here")
    return client.ask_for_invite(room, event)
