"""The logs from which entries may have to be sent to a server, each with an ID:

- a room's log, by the room's ID: events (`room_logs`)
- the changes of a local user's devices, by the user's ID (`device_changes`)
- to-device messages that wait for the server, by TO_DEVICE (`storage.servers.outgoing_messages`)

A transaction names places in the logs, and its content is read each time that it is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeGuard

from murmuration.federation.outbound import device_changes, room_logs
from murmuration.federation.outbound.transactions import MOST_BYTES, MOST_EDUS, Part, size
from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import RoomId, ServerName, UserId
from murmuration.storage.servers import outgoing_messages
from murmuration.storage.servers.backlogs import Owed

if TYPE_CHECKING:
    from murmuration.federation.shapes import Edu
    from murmuration.storage.servers.backlogs import LogId

TO_DEVICE: Final = ">"


@dataclass(frozen=True, slots=True)
class Pending:
    """The places of a log whose entries a server is to get, in order, each with its size in bytes.

    The log was read from `since` up to `until`, which is its end if `is_all`. `first_ms` is the time of the
    first event. It is 0 for EDUs, so that they are sent first.
    """

    log_id: LogId
    places: Sequence[tuple[int, int]]
    until: int
    is_all: bool
    first_ms: int = 0
    since: int = 0

    @property
    def has_edus(self) -> bool:
        """Whether the pending entries are EDUs rather than events."""
        return not is_room(self.log_id)


@dataclass(slots=True)
class Content:
    """The content of a transaction."""

    events: list[Event] = field(default_factory=list)
    edus: list[Edu] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not self.events and not self.edus


def is_room(log_id: LogId) -> TypeGuard[RoomId]:
    """Return whether a log is a room's."""
    return log_id.startswith("!")


def _user_of(log_id: LogId) -> UserId:
    """Return the user whose devices' log has this ID."""
    return UserId(log_id)


def read_pending(server_name: ServerName, owed: Owed, *, only_newest: bool) -> Pending:
    """Return the next places of a log to send to a server; with `only_newest`, only a room's newest event."""
    if owed.room_id == TO_DEVICE:
        return _pending_messages(server_name)
    if not is_room(owed.room_id):
        changes, until = device_changes.read_owed(server_name, _user_of(owed.room_id), owed.ordinal)
        places = [(number, device_changes.MOST_EDU_BYTES) for number in changes]
        return Pending(owed.room_id, places, until, True, since=owed.ordinal)
    found = room_logs.read_owed(server_name, owed.room_id, owed.ordinal, only_newest=only_newest)
    places = [(entry.ordinal, size(entry.event)) for entry in found.entries]
    return Pending(owed.room_id, places, found.until, found.is_all, found.first_ms)


def _pending_messages(server_name: ServerName) -> Pending:
    messages, is_all = outgoing_messages.read(server_name, limit=MOST_EDUS, most_bytes=MOST_BYTES)
    places = [(message.place, len(message.edu.encode()) + 60) for message in messages]
    return Pending(TO_DEVICE, places, places[-1][0] + 1 if places else 0, is_all)


def read_content(server_name: ServerName, parts: Sequence[Part]) -> Content:
    """Return the events and EDUs at the places of a transaction's parts, as far as they still exist."""
    content = Content()
    for part in parts:
        if part.room_id == TO_DEVICE:
            messages = outgoing_messages.read_some(server_name, part.ordinals)
            content.edus += [direct_to_device(message.edu) for message in messages]
        elif is_room(part.room_id):
            content.events += room_logs.read_events(part.room_id, part.ordinals)
        else:
            content.edus += device_changes.read_edus(_user_of(part.room_id), part.ordinals, part.since)
    return content


def direct_to_device(encoded: str) -> Edu:
    """Return the EDU of a message, whose content is given as JSON."""
    return {"edu_type": "m.direct_to_device", "content": canonical_json.loads(encoded)}


def confirm(server_name: ServerName, parts: Sequence[Part]) -> None:
    """Remove the to-device messages in `parts`, which the server has confirmed."""
    for part in parts:
        if part.room_id == TO_DEVICE:
            outgoing_messages.remove(server_name, part.ordinals)
