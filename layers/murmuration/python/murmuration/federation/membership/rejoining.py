"""Rejoining a room: its state is taken anew from another server, in place of what this one has come to.

For the operator, after a state reset or where this server has missed too much. A user of this server who is
in the room joins it again by another server, whose answer has the state. The room goes on from that join.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from murmuration.federation.membership import handshakes
from murmuration.federation.membership.answers import Entry, check_answer
from murmuration.federation.membership.entering import enter
from murmuration.federation.membership.failures import first_answer
from murmuration.protocol import state_trie
from murmuration.protocol.errors import InvalidParam, MatrixError
from murmuration.rooms.membership.operations import AUTHORISER
from murmuration.rooms.room import Room
from murmuration.rooms.writing.settling import settle
from murmuration.storage.rooms import member_index, snapshots

MOST_USERS = 3
"""How many users are tried: one may be banned by what the others know."""
MOST_SERVERS = 5


@dataclass(frozen=True, slots=True)
class Rejoined:
    """By whose join, and how many entries of the state are not as they were, the join aside."""

    user_id: str
    changed: int


def rejoin(room_id: str, servers: Sequence[str] = ()) -> Rejoined:
    """Take a room's state anew from one of these servers, or of those with the most members.

    Raises NotFound for a room that this server isn't in, InvalidParam for one that no other server knows,
    and what the other servers answer: then nothing has changed.
    """
    room = settle(Room.load(room_id))
    room.require_residency()
    counts = member_index.read_servers(room.head)
    known = sorted(counts, key=lambda server: -counts[server])[:MOST_SERVERS]
    if not known and not servers:
        raise InvalidParam("No other server is in the room")
    asked = handshakes.candidates(room_id if not servers else "", servers or known)
    failure: MatrixError = InvalidParam("Nobody of this server is in the room")
    for user_id in member_index.read_local(room.head, limit=MOST_USERS):
        try:
            entry = _join(room, user_id, asked)
        except MatrixError as error:
            failure = error
            continue
        before = room.head.state_root
        enter(entry, anew=True)
        return Rejoined(user_id, _changed(room_id, before, user_id))
    raise failure


def _join(room: Room, user_id: str, servers: Sequence[str]) -> Entry:
    """The room as the first of the servers tells it that takes the user's join. Raises MatrixError."""
    member = room.event("m.room.member", user_id)
    content = dict(member.content) if member is not None else {}
    content.pop(AUTHORISER, None)

    def by(server: str) -> Entry:
        event = handshakes.make(server, "join", room.room_id, user_id, content)
        answer = handshakes.send(
            server, "join", event, seconds=handshakes.JOIN_SECONDS, max_bytes=handshakes.MAX_JOIN_BYTES
        )
        return check_answer(answer, event)

    return first_answer(servers, by)


def _changed(room_id: str, before: state_trie.NodeId, user_id: str) -> int:
    after = Room.load(room_id).head.state_root
    changes = state_trie.diff(before, after, snapshots.fetch_from(room_id))
    return len(changes.keys() - {("m.room.member", user_id)})
