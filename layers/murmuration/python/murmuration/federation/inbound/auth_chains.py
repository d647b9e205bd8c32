"""Auth chains: events that are stored because they authorise others; their place in the room's graph isn't
known.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from murmuration.aws import concurrency, dynamodb
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.federation.inbound.elsewhere import Pdu, RemoteServers
from murmuration.federation.inbound.forks import Forks
from murmuration.federation.inbound.graph import ancestors_first
from murmuration.protocol.auth_rules import create_event_id
from murmuration.protocol.errors import MatrixError
from murmuration.protocol.events import Event
from murmuration.protocol.pdus.keys import KeyRing
from murmuration.protocol.pdus.validation import (
    check_against_auth_events,
    check_content_hash,
    check_format,
    check_signatures,
    keys_to_look_up,
)
from murmuration.storage.rooms import event_store
from murmuration.storage.rooms.event_store import StoredEvent

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId, ServerName


def authorising_ids(event: Event) -> list[EventId]:
    """Return the IDs of the events that authorise an event: its auth events and its room's create event."""
    if event.room_version.create_event_is_room_id and not event.is_create:
        return [*event.auth_events, create_event_id(event)]
    return list(event.auth_events)


def signing_times(events: Iterable[Event]) -> dict[tuple[ServerName, str], int]:
    """Return the keys that these events' signatures need, by (server, key ID), and when each was last used
    (ms).
    """
    times: dict[tuple[ServerName, str], int] = {}
    for event in events:
        for name in keys_to_look_up(event):
            times[name] = max(times.get(name, 0), event.origin_server_ts)
    return times


def valid_events(forks: Forks, pdus: Iterable[Pdu], *, limit_references: bool = True) -> dict[EventId, Event]:
    """Return, by ID, the events of those PDUs that belong to the room and have its version's format."""
    events: dict[EventId, Event] = {}
    for pdu in pdus:
        try:
            event = check_format(pdu, forks.version, limit_references=limit_references)
        except MatrixError:
            continue
        if event.room_id == forks.room_id:
            events[event.event_id] = event
    return events


def bring_in(forks: Forks, pdus: Iterable[Pdu], remote: RemoteServers) -> list[str]:
    """Store the unknown events as outliers or as rejected. Returns the IDs of all PDUs' events.

    Leaves out events that don't belong to the room, that lack a valid signature, or whose own auth events are
    neither known nor among the PDUs.
    """
    events = valid_events(forks, pdus)
    cited = {event_id for event in events.values() for event_id in authorising_ids(event)}
    known = forks.stored([*events, *cited])
    fresh = {event_id: event for event_id, event in events.items() if event_id not in known}
    keys = remote.keys(signing_times(fresh.values()))
    added: dict[EventId, StoredEvent] = {}
    for event in ancestors_first(fresh, authorising_ids):
        outlier = _judge(forks, event, {**known, **added}, keys)
        if outlier is not None:
            added[event.event_id] = outlier
    concurrency.parallel(*(functools.partial(keep_outlier, outlier) for outlier in added.values()))
    forks.learn(added)
    return list(events)


def _judge(
    forks: Forks, event: Event, known: Mapping[EventId, StoredEvent], keys: KeyRing
) -> StoredEvent | None:
    """Perform checks 1 to 4 on an event. Returns None if it is dropped or can't be judged."""
    authorising = {it: known[it] for it in authorising_ids(event) if it in known}
    if len(authorising) < len(set(authorising_ids(event))):
        return None
    try:
        check_signatures(event, keys)
    except MatrixError:
        return None
    event = check_content_hash(event)
    rejected = [event_id for event_id, stored in authorising.items() if stored.kind == "rejected"]
    auth_events = {event_id: stored.event for event_id, stored in authorising.items()}
    try:
        check_against_auth_events(event, auth_events, rejected, keys)
    except MatrixError as reason:
        return StoredEvent(event, forks.room_id, "rejected", reason=reason.message)
    return StoredEvent(event, forks.room_id, "outlier")


def keep_outlier(outlier: StoredEvent) -> None:
    """Store an outlier, unless the event became known meanwhile."""
    with suppress(ConditionFailed):
        for write in event_store.keep_writes(outlier):
            dynamodb.execute(write)
