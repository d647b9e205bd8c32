"""The port through which the server of an invited user is asked to sign the invite.

Federation connects a client to it, as it does for policy servers (`policy_port`). So every way of sending an
invite asks that server. https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from murmuration.protocol.events import Event
    from murmuration.rooms.room import Room


class InviteClient(Protocol):
    """A client that asks the servers of invited users to sign invites."""

    def ask_for_invite(self, room: Room, event: Event) -> Event:
        """Return the invite with the signature of the invited user's server.

        Raises Forbidden if users of that server can't be in the room, or the operator's lists exclude the
        server; the server's own error; BadGateway or GatewayTimeout if it doesn't answer.
        """


_connected: list[Callable[[], InviteClient]] = []


def connect(make_client: Callable[[], InviteClient]) -> None:
    """Use the client that `make_client` returns from now on. It is created when it is first needed."""
    _connected[:] = [make_client]


def invite_client() -> InviteClient | None:
    """Return the connected client; None if none is connected."""
    return _connected[0]() if _connected else None


def signed_by_invited(room: Room, event: Event) -> Event:
    """Return the event, signed by the invited user's server if that is another server.

    Raises what `InviteClient.ask_for_invite` raises, and Unavailable if no client is connected.
    """
    from murmuration.protocol.errors import Unavailable
    from murmuration.storage.rooms import member_index

    if event.membership != "invite" or member_index.is_local(event.member_id):
        return event
    client = invite_client()
    if client is None:
        raise Unavailable("Users of other servers can't be invited from here")
    return client.ask_for_invite(room, event)
