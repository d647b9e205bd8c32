"""`RemoteServers`: the requests to other servers that judging an event may need. The caller provides the
network.

Answers aren't trusted: every PDU in them is checked as if it had arrived by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from murmuration.protocol.events import Event
from murmuration.protocol.pdus.keys import KeyRing

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId, ServerName

Pdu = Any
"""A PDU as it arrived: any JSON value."""


@dataclass(frozen=True, slots=True)
class StateIds:
    """The IDs of the state before an event according to another server, and of its events' auth chains."""

    state: Sequence[EventId]
    auth_chain: Sequence[EventId] = ()


class RemoteServers(Protocol):
    """The other servers in a room. Each method may return less than was asked for, or nothing."""

    def keys(self, wanted: Mapping[tuple[ServerName, str], int]) -> KeyRing:
        """Return servers' keys, by (server name, key ID). `wanted` has the time until which each has to be
        valid (ms).
        """

    def auth_chain(self, event: Event) -> Sequence[Pdu]:
        """Return the auth events of an event, the auth events of those, and so on (`GET /event_auth`)."""

    def events_between(self, event: Event, known: Sequence[EventId]) -> Sequence[Pdu]:
        """Return events before `event` and after the `known` ones (`POST /get_missing_events`)."""

    def state_ids_before(self, event: Event) -> StateIds | None:
        """Return the IDs of the state before an event (`GET /state_ids`)."""

    def state_events(self, event: Event, event_ids: Sequence[EventId]) -> Sequence[Pdu]:
        """Return those events of the state before `event`, or of its auth chains, that aren't known here.

        A few are fetched by `GET /event`, many by `GET /state`.
        """


class MissingEvents(Exception):
    """Events that are needed to judge another one can't be fetched. That one may be tried again later."""

    def __init__(self, event_ids: Collection[EventId]) -> None:
        super().__init__(f"{len(event_ids)} events can't be had: {', '.join(sorted(event_ids)[:5])}")
        self.event_ids = tuple(event_ids)
