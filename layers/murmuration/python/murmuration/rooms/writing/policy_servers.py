"""Policy servers: whether a room uses one, and getting its signature for this server's events.

https://spec.matrix.org/v1.19/server-server-api/#policy-servers
"""

from __future__ import annotations

from murmuration.protocol.errors import Unavailable
from murmuration.protocol.event_types import POLICY_KEY
from murmuration.protocol.events import Event
from murmuration.protocol.pdus.validation import PolicyServer, policy_server_of
from murmuration.rooms.room import Room
from murmuration.rooms.writing.policy_port import policy_client


def policy_server_in_use(room: Room, policy: Event | None) -> PolicyServer | None:
    """Return the policy server that the room uses; `policy` is its m.room.policy event.

    It counts only while a user of that server is joined: one small read for each state version of the room.
    """
    server = policy_server_of(policy)
    if server is None or not room.is_server_joined(server.server_name):
        return None
    return server


def endorsed(room: Room, policy: Event | None, event: Event) -> Event:
    """Return an event of this server with the signature of the room's policy server, if it needs one.

    Raises what `PolicyClient.ask_to_sign` raises, and Unavailable if no client is connected.
    """
    if event.state_pair == POLICY_KEY:
        return event
    server = policy_server_in_use(room, policy)
    if server is None:
        return event
    client = policy_client()
    if client is None:
        raise Unavailable("The room's policy server can't be asked from here")
    return client.ask_to_sign(server, event)
