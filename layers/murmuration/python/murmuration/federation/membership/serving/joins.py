"""Lets users of other servers join: stores the join event, and returns the room's state.

https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from murmuration.federation.inbound.auth_chains import authorising_ids
from murmuration.federation.inbound.extremities import join_extremities
from murmuration.federation.inbound.forks import Forks
from murmuration.federation.membership.serving.taking import take
from murmuration.federation.serving.answers import require_room_for
from murmuration.protocol import state_trie
from murmuration.protocol.errors import Unavailable
from murmuration.protocol.event_types import CANONICAL_ALIAS_KEY, MEMBER, NAME_KEY
from murmuration.protocol.events import Event, StateKey
from murmuration.rooms.reading.servers import servers_in_room
from murmuration.rooms.room import Room
from murmuration.settings import settings
from murmuration.storage.rooms import member_index

if TYPE_CHECKING:
    from murmuration.federation.shapes import JoinAnswer
    from murmuration.protocol.identifiers import EventId, RoomId, ServerName

_NAMES = (NAME_KEY, CANONICAL_ALIAS_KEY)
HEROES = 5
MEMBER_BYTES = 760
"""The approximate size of a member event in an answer."""


def send_join(
    origin: ServerName,
    room_id: RoomId,
    event_id: EventId,
    pdu: object,
    *,
    omit_members: bool = False,
    gzip: bool = False,
) -> JoinAnswer:
    """Accept a join. Returns the state before it, the auth chains, and the event as all other servers get it.

    With `omit_members` the state has no members except the heroes of a room without a name, and the chains
    have no event that the state has. `gzip` says that the answer may be compressed.

    Raises what `taking.take` raises; Unavailable, before anything is stored, if the room's state is too large
    to be sent.
    """

    def check_size(room: Room) -> None:
        if not omit_members:
            require_room_for((room.head.joined + room.head.invited) * MEMBER_BYTES, gzip=gzip)

    room, event = take(origin, room_id, event_id, pdu, "join", check_size)
    # Events since the template was made were sent only to the servers of that time. With an event that
    # follows both, the joining server learns of them now, and not only when the next message is sent.
    join_extremities(room_id, most=1)
    forks = Forks(room_id, room.version)
    placed = forks.stored([event_id]).get(event_id)
    if placed is None or placed.state_root is None:
        raise Unavailable("The join is not in its place yet; try again")
    state_ids = state_trie.items(placed.state_root, forks.fetch)
    if omit_members:
        state_ids = _without_members(room, state_ids)
    state = forks.events(state_ids.values())
    chain = _auth_chain(forks, [event, *state.values()])
    if omit_members:
        chain = {name: found for name, found in chain.items() if name not in state}
    answer: JoinAnswer = {
        "origin": settings().server_name,
        "state": [found.pdu for found in state.values()],
        "auth_chain": [found.pdu for found in chain.values()],
        "event": event.pdu,
        "members_omitted": omit_members,
    }
    if omit_members:
        answer["servers_in_room"] = servers_in_room(room)
    return answer


def _without_members(room: Room, state: Mapping[StateKey, EventId]) -> dict[StateKey, EventId]:
    """Return the state without its members, except those from whose names the name of an unnamed room is
    made.
    """
    heroes: set[str] = set()
    if not any(pair in state for pair in _NAMES):
        heroes.update(member_index.read_present(room.head, memberships=("join", "invite"), limit=HEROES))
    return {pair: event_id for pair, event_id in state.items() if pair[0] != MEMBER or pair[1] in heroes}


def _auth_chain(forks: Forks, events: Iterable[Event]) -> dict[EventId, Event]:
    """Return, by ID, the events that authorise these, those that authorise them, and so on."""
    chain: dict[EventId, Event] = {}
    newest = list(events)
    while newest:
        cited = [event_id for event in newest for event_id in authorising_ids(event)]
        found = forks.events(event_id for event_id in dict.fromkeys(cited) if event_id not in chain)
        chain |= found
        newest = list(found.values())
    return chain
