"""Receives events that other servers made: judges them by their position in the graph, and stores the result.

- An accepted event gets the next ordinal of the log, and becomes one of the room's newest events, in place of
  those that it follows. The room's state is then what the states after its newest events resolve to.
- A soft-failed or rejected one is stored outside the log (`storage.rooms.event_store`), and changes nothing.
- What an event refers to has to be known first: auth events are fetched and stored as outliers, events before
  it are fetched and received; if there is a gap, another server is asked for the state before the event.

If something happens twice, or concurrently, the outcome is the same: an event's ID is claimed together with
its place. https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from murmuration.aws.dynamodb import ConditionFailed
from murmuration.federation.inbound.elsewhere import Pdu, RemoteServers
from murmuration.federation.inbound.extremities import join_extremities
from murmuration.federation.inbound.reception import Received, Reception
from murmuration.federation.policy.asking import Asked
from murmuration.protocol.errors import InvalidParam, Unavailable
from murmuration.protocol.events import Event
from murmuration.protocol.pdus.validation import check_format, check_on_receipt
from murmuration.rooms.room import Room
from murmuration.rooms.writing.settling import settle
from murmuration.storage.live.streams import pause

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId

ATTEMPTS = 60


def receive(
    room_id: RoomId,
    pdu: Pdu,
    remote: RemoteServers,
    room: Room | None = None,
    *,
    relayed: bool = False,
    again: bool = False,
) -> Received:
    """Receive a PDU of the room, and return the outcome, even if it was received before.

    `room`, if it is settled, saves a read. `relayed` says that this server distributes the event to the
    others. With `again` an event is judged anew if the room's policy server gave no decision before. Raises
    the MatrixError for which the event is dropped, NotFound for an unknown room or one without local users,
    MissingEvents if events that it refers to can't be fetched, Unavailable if contention doesn't end.
    """
    return _receive(room_id, pdu, remote, fill_gaps=True, known=room, relayed=relayed, again=again)


def _receive(
    room_id: RoomId,
    pdu: Pdu,
    remote: RemoteServers,
    *,
    fill_gaps: bool,
    known: Room | None = None,
    relayed: bool = False,
    again: bool = False,
) -> Received:
    asked = Asked()
    undecided: dict[str, Pdu] = {}

    def receive_earlier(event: Event) -> Received:
        earlier = _receive(room_id, event.pdu, remote, fill_gaps=False)
        if earlier.undecided:
            undecided[event.event_id] = event.pdu
        return earlier

    for attempt in range(ATTEMPTS):
        room = known if known is not None and attempt == 0 else settle(Room.load(room_id))
        room.require_residency()
        event = check_format(pdu, room.version)
        if event.room_id != room_id:
            raise InvalidParam("The event is of another room")
        reception = Reception(room, event, remote, receive_earlier if fill_gaps else None)
        reception.relayed, reception.asked = relayed, asked
        if (stored := reception.look_up()) is not None:
            if not (again and stored.undecided):
                return Received(event.event_id, stored.kind, stored.reason)
            reception.judge_again(stored)
        if event.is_create:
            raise InvalidParam("The room has begun already")
        try:
            received = reception.conclude(check_on_receipt(pdu, room.version, reception))
            received = replace(received, undecided_before=tuple(undecided.values()))
            if reception.leaves_many_extremities:
                join_extremities(room_id)
            return received
        except ConditionFailed:
            pause(attempt)
    raise Unavailable("Too many requests change the room at once; try again")
